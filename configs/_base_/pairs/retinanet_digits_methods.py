# The pair for grids of methods: `model.distill` and `custom_hooks.1` are
# filled by configs/sweeps/digits_retinanet.py and its search of weights.
_base_ = 'retinanet_digits.py'
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook'),
]
