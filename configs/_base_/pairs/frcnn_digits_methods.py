# The pair for a grid of methods: `model.distill` and `custom_hooks.1` are
# filled by configs/sweeps/digits_methods.py.
_base_ = 'frcnn_digits.py'
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook'),
]
