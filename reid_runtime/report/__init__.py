"""The page of an evaluation: one HTML file with nothing outside it, readable without JavaScript."""

from reid_runtime.report.document import check_report
from reid_runtime.report.page import write_report

__all__ = ["check_report", "write_report"]
