"""CTKD: ResNet-56 teaches ResNet-20 on CIFAR-100, at a learned temperature.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/resnet56.pth
         (docs/classifiers.md).
Run      python tools/train.py \
         configs/cifar100/ctkd_resnet56_resnet20_cifar100.py
Paper    71.19 (CTKD); KD alone 70.66, student alone 69.06. Not run here
         yet.
Derived  nothing: the settings are those of CTKD's authors, a temperature
         from 1 to 21.
"""

_base_ = './kd_resnet56_resnet20_cifar100.py'
model = dict(distill=dict(loss_kd=dict(tau='learned')))
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_kd=dict(
            part='temperature', warmup=10, unit='epoch', shape='cosine'
        ),
    ),
]
