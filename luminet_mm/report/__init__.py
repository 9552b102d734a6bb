"""One page that says what distillation gained, and how sure that is."""

from luminet_mm.later import later_names

# Not imported here: `python -m luminet_mm.report --help` needs no torch.
__getattr__ = later_names(
    __name__,
    ReportError='luminet_mm.report.runs',
    write_report='luminet_mm.report.page',
)
