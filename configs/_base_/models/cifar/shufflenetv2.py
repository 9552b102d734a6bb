# ShuffleNetV2: 1.36 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARShuffleNetV2'),
    head=dict(in_channels=1024),
)
