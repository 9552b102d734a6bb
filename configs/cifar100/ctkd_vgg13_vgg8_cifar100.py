"""CTKD: VGG-13 teaches VGG-8 on CIFAR-100, at a learned temperature.

Needs    CIFAR-100 in data/cifar100 and checkpoints/cifar100/vgg13.pth
         (docs/classifiers.md).
Run      python tools/train.py configs/cifar100/ctkd_vgg13_vgg8_cifar100.py
Paper    73.52 (CTKD); KD alone 72.98, student alone 70.36. Not run here
         yet.
Derived  nothing: the settings are those of CTKD's authors, a temperature
         from 1 to 21.
"""

_base_ = './kd_vgg13_vgg8_cifar100.py'
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
