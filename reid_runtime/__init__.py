"""reid-runtime: a person crop of any size goes in, a unit vector comes out, the same one wherever it runs."""

import os
from importlib import import_module

# ONNX Runtime's telemetry writes to the home folder and calls home; it reads this once, at its own import, and its
# disable_telemetry_events() comes too late. Who sets the variable to 0 before has decided otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

TYPE_CHECKING = False  # typing's own takes longer to import than all of this

if TYPE_CHECKING:
    from reid_runtime import matching, scoring
    from reid_runtime.adapters import EmbedBatch, EmbedBoxes, EmbedShard
    from reid_runtime.embedder import Embedder, Result
    from reid_runtime.errors import (
        BackendError,
        ContractError,
        DatasetError,
        ImageError,
        OptionsError,
        ReidRuntimeError,
        StorageError,
    )
    from reid_runtime.explain import Explainer, Explanation, PairExplanation
    from reid_runtime.gallery.gallery import Gallery
    from reid_runtime.jobs import Embeddings, read_embeddings, write_embeddings
    from reid_runtime.jobs.cluster import cluster
    from reid_runtime.jobs.embed_folder import JobResult, embed_folder
    from reid_runtime.jobs.embed_video import VideoResult, embed_video
    from reid_runtime.jobs.search.answers import Answer, SearchSettings
    from reid_runtime.jobs.search.gallery import open_gallery
    from reid_runtime.jobs.search.run import search
    from reid_runtime.model_file import ModelFile
    from reid_runtime.model_file.contract import Contract

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "BackendError",
    "Contract",
    "ContractError",
    "DatasetError",
    "EmbedBatch",
    "EmbedBoxes",
    "EmbedShard",
    "Embedder",
    "Embeddings",
    "Explainer",
    "Explanation",
    "Gallery",
    "ImageError",
    "JobResult",
    "ModelFile",
    "OptionsError",
    "PairExplanation",
    "ReidRuntimeError",
    "Result",
    "SearchSettings",
    "StorageError",
    "VideoResult",
    "cluster",
    "embed_folder",
    "embed_video",
    "open_gallery",
    "matching",
    "read_embeddings",
    "scoring",
    "search",
    "write_embeddings",
]

if not TYPE_CHECKING:
    _HOMES = {
        "EmbedBatch": "adapters",
        "EmbedBoxes": "adapters",
        "EmbedShard": "adapters",
        "Contract": "model_file.contract",
        "ModelFile": "model_file",
    }
    _HOMES |= dict.fromkeys(("Embedder", "Result"), "embedder")
    _HOMES |= dict.fromkeys(("Explainer", "Explanation", "PairExplanation"), "explain")
    _HOMES |= dict.fromkeys(("Embeddings", "read_embeddings", "write_embeddings"), "jobs")
    _HOMES |= dict.fromkeys(("JobResult", "embed_folder"), "jobs.embed_folder")
    _HOMES |= dict.fromkeys(("VideoResult", "embed_video"), "jobs.embed_video")
    _HOMES |= dict.fromkeys(("Answer", "SearchSettings"), "jobs.search.answers")
    _HOMES |= {"Gallery": "gallery.gallery", "cluster": "jobs.cluster"}
    _HOMES |= {"open_gallery": "jobs.search.gallery", "search": "jobs.search.run"}

    def __getattr__(name: str) -> object:
        """A public name, whose module is imported when it is first asked for.

        So the command can catch Ctrl-C before numpy and all the rest are there.
        """
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in ("matching", "scoring"):  # whole rooms: what they hold is in their own __all__
            return import_module(f"{__name__}.{name}")
        return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
