# VGG-8 with batch norm: 3.97 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARVGG', depth=8),
    head=dict(in_channels=512),
)
