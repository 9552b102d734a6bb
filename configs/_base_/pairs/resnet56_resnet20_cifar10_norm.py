# The pair for a grid of methods, with NORM's wide layer and its head.
_base_ = 'resnet56_resnet20_cifar10_methods.py'
model = dict(
    neck=[
        dict(
            type='luminet_mm.NORMNeck',
            in_channels=64,
            teacher_channels=64,
            num_segments=8,
        ),
        dict(type='GlobalAveragePooling'),
    ],
    head=dict(type='luminet_mm.NormalizedClsHead', scale=2.5),
)
