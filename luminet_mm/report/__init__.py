"""One page that says what distillation gained, and how sure that is."""

from luminet_mm.report.page import write_report
from luminet_mm.report.runs import ReportError

__all__ = ['ReportError', 'write_report']
