# ShuffleNetV1: 0.95 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(type='luminet_mm.CIFARShuffleNetV1'),
    head=dict(in_channels=960),
)
