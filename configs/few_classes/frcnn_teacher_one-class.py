"""The teacher of the one-class runs: the digits' teacher, two epochs more.

Its last layer, of one class, starts anew.

Needs    the boxes as for configs/few_classes/frcnn_student_one-class.py.
Run      python tools/train.py configs/few_classes/frcnn_teacher_one-class.py
"""

_base_ = 'frcnn_student_one-class.py'
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
load_from = 'weights/digits_teacher.pth'
max_epochs = 2
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=2e-5,
        convert_to_iter_based=True,
    ),
]
