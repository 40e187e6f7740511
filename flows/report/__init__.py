"""The report of a build: one HTML file that shows what was built, how fast it is, and how that was verified."""

from flows.report.page import summary, write

__all__ = ["summary", "write"]
