# ResNet-110: 1.74 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARResNet', depth=110),
    head=dict(in_channels=64),
)
