"""The teacher of the RetinaNet digits runs: wider, four times the data.

Needs    nothing; its backbone starts as that of the Faster R-CNN teacher.
Run      python tools/train.py configs/one_stage/retinanet_teacher_digits.py
"""

_base_ = 'retinanet_student_digits.py'
model = dict(
    backbone=dict(
        base_channels=24,
        stem_channels=24,
        init_cfg=dict(checkpoint='weights/digits_teacher.pth'),
    ),
    # pyramid and head are as wide as the student's, for CrossKD
    neck=dict(in_channels=[24, 48, 96, 192]),
)
train_dataloader = dict(dataset=dict(num_images=4800))
