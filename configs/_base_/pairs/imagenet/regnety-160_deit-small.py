# RegNetY-160 (82.6, DeiT's authors') teaches DeiT-S: all but the loss.
_base_ = './regnety-160_deit-tiny.py'
model = dict(
    backbone=dict(arch='deit-small'),
    head=dict(in_channels=384),
)
