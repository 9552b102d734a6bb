# VGG-13 with batch norm: 9.46 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARVGG', depth=13),
    head=dict(in_channels=512),
)
