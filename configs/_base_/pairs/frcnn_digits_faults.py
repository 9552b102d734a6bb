# The pair for a grid of mistakes: `model.type`, `model.distill`, the teacher's
# config and `custom_hooks.1` are filled by
# configs/sweeps/digits_roi_faults.py. What the monitor would stop is trained
# to the end here.
_base_ = 'frcnn_digits_methods.py'
custom_imports = dict(imports=['luminet_mm.analysis.roi_faults'])
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook', stop=False)
)
