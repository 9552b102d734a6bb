"""Checks of a config and its data, before anything is built."""

from luminet_mm.later import later_names

# Not imported here: what reads only a config's text needs no torch.
__getattr__ = later_names(
    __name__,
    ConfigError='luminet_mm.preflight.faults',
    check_annotations='luminet_mm.preflight.data',
    check_config='luminet_mm.preflight.check',
    check_text='luminet_mm.preflight.text',
    leaf_datasets='luminet_mm.preflight.data',
)
