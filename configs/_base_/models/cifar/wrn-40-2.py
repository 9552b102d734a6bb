# WRN-40-2, a wide residual network: 2.26 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARWideResNet', depth=40, widen_factor=2),
    head=dict(in_channels=128),
)
