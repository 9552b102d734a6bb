# The pair for a grid of methods, with SimKD's projector and reused classifier.
_base_ = 'resnet56_resnet20_cifar10_methods.py'
model = dict(
    neck=[
        dict(
            type='luminet_mm.SimKDNeck',
            in_channels=64,
            out_channels=64,
            factor=2,
        ),
        dict(type='GlobalAveragePooling'),
    ],
    head=dict(type='luminet_mm.ReusedClsHead', in_channels=64),
)
