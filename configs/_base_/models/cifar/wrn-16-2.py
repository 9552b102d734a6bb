# WRN-16-2, a wide residual network: 0.70 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARWideResNet', depth=16, widen_factor=2),
    head=dict(in_channels=128),
)
