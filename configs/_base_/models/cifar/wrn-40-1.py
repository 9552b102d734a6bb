# WRN-40-1, a wide residual network: 0.57 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARWideResNet', depth=40, widen_factor=1),
    head=dict(in_channels=64),
)
