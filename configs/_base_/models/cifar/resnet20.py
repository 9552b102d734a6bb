# ResNet-20: 0.28 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARResNet', depth=20),
    head=dict(in_channels=64),
)
