"""The report of a build: one HTML file with the hardware, its performance, and its verification; and of several."""

from flows.report.comparison import compare
from flows.report.page import summary, write

__all__ = ["compare", "summary", "write"]
