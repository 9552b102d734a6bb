"""The student alone on handwritten digits: what distillation has to beat.

Needs    nothing; scikit-learn ships the images.
Run      python tools/train.py
         configs/handwritten/resnet_student_handwritten.py
"""

_base_ = [
    '../_base_/datasets/handwritten.py',
    '../_base_/schedules/handwritten_12e.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='luminet_mm.CIFARResNet', depth=8, stage_channels=(4, 4, 8, 16)
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=16,
        loss=dict(type='CrossEntropyLoss'),
    ),
)
