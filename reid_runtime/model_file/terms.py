"""Terms of use that a model's training data restrict: said once, wherever a model is loaded."""

import logging
import re
from pathlib import Path

from reid_runtime.model_file.contract import Contract

_LOG = logging.getLogger(__name__)
_RESEARCH = re.compile("research|academic|non-?commercial", re.IGNORECASE)


def restriction(path: Path, contract: Contract) -> str:
    """In a short line, that a model is for research only, where data that it was trained on are; else empty."""
    if not any(_RESEARCH.search(item.terms) for item in contract.trained_on):
        return ""
    return f"model {path.name}: research use only, by the terms of its training data (reid-runtime describe)"


def log_terms(path: Path, contract: Contract) -> None:
    """Log such a line as a warning; Python prints it on standard error where no logging is set up."""
    if line := restriction(path, contract):
        _LOG.warning("%s", line)
