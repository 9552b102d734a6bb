# ResNet-56: 0.86 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARResNet', depth=56),
    head=dict(in_channels=64),
)
