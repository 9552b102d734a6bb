# The pair for a grid of methods: `model.distill` and `custom_hooks.1` are
# filled by configs/sweeps/cifar10_methods.py.
_base_ = 'resnet56_resnet20_cifar10.py'
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook'),
]
