# ResNet-32x4, four times as wide: 7.43 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(
        type='luminet_mm.CIFARResNet',
        depth=32,
        stage_channels=(32, 64, 128, 256),
    ),
    head=dict(in_channels=256),
)
