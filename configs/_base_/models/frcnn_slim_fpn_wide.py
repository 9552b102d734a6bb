# The slim detector, 1.5 times as wide: the teacher of the short runs.
_base_ = 'frcnn_slim_fpn.py'
model = dict(
    backbone=dict(base_channels=24, stem_channels=24, init_cfg=None),
    neck=dict(in_channels=[24, 48, 96, 192], out_channels=40),
    rpn_head=dict(in_channels=40, feat_channels=40),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=40),
        bbox_head=dict(in_channels=40),
    ),
    train_cfg=dict(rcnn=dict(sampler=dict(num=64))),
)
