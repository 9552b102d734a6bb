# ResNet-32: 0.47 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARResNet', depth=32),
    head=dict(in_channels=64),
)
