# MobileNetV2 at half its width: 0.81 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARMobileNetV2', widen_factor=0.5),
    head=dict(in_channels=1280),
)
