# The pair for grids of methods: `model.distill` and `custom_hooks.1` are
# filled by configs/sweeps/digits_gfl.py and its search of weights.
_base_ = 'gfl_digits.py'
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook'),
]
