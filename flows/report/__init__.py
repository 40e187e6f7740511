"""The report of a build: one HTML file with the hardware, its performance, and its verification."""

from flows.report.page import summary, write

__all__ = ["summary", "write"]
