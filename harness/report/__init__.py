"""What people and CI servers read: HTML, terminal, JUnit XML, CSV, JSON lines and Markdown."""

from harness.report.terminal import render_table
from harness.report.write import write_reports

__all__ = ["render_table", "write_reports"]
