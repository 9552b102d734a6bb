# The pair for a grid of methods: `model.distill` and `custom_hooks.1` are
# filled by configs/sweeps/bccd_methods.py.
_base_ = 'frcnn_bccd.py'
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook'),
]
