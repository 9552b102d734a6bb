"""The teacher of the digits runs: half as wide again, on four times the data.

Needs    a backbone: python tools/train.py
         configs/pretrain/backbone_teacher_digits.py. Not needed to distil: the
         trained teacher is in weights/digits_teacher.pth.
Run      python tools/train.py configs/frcnn_teacher_digits.py
"""

_base_ = 'frcnn_student_digits.py'
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
    train_cfg=dict(rcnn=dict(sampler=dict(num=64))),
)
# Training three times as long on the student's 1,200 images: only 39 AP.
train_dataloader = dict(dataset=dict(num_images=4800))
max_epochs = 4
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=2e-5,
        convert_to_iter_based=True,
    ),
]
