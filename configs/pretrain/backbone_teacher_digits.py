"""Classify crops of digits: pretraining for the teacher's backbone.

Needs    nothing; the crops are made on first use (4000 scenes, 40 s).
Run      python tools/train.py configs/pretrain/backbone_teacher_digits.py
Result   init_cfg.checkpoint of configs/frcnn_teacher_digits.py
"""

_base_ = 'backbone_student_digits.py'
model = dict(
    backbone=dict(base_channels=24, stem_channels=24),
    head=dict(in_channels=192),
)
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=3e-5,
        convert_to_iter_based=True,
    ),
]
