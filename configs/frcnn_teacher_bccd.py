"""The teacher of the blood cell runs: half as wide again, trained longer.

Needs    data/bccd as for configs/frcnn_student_bccd.py, and the backbone of
         the digits' teacher: train configs/pretrain/backbone_teacher_digits.py
         first.
Run      python tools/train.py configs/frcnn_teacher_bccd.py
"""

_base_ = 'frcnn_student_bccd.py'
model = dict(
    backbone=dict(
        base_channels=24,
        stem_channels=24,
        init_cfg=dict(
            checkpoint='work_dirs/backbone_teacher_digits/epoch_8.pth',
        ),
    ),
    neck=dict(in_channels=[24, 48, 96, 192], out_channels=40),
    rpn_head=dict(in_channels=40, feat_channels=40),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=40),
        bbox_head=dict(in_channels=40),
    ),
)
max_epochs = 24
train_cfg = dict(max_epochs=max_epochs, val_interval=6)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=2e-5,
        convert_to_iter_based=True,
    ),
]
