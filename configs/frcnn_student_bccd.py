"""The student alone on blood cells (BCCD): what distillation has to beat.

Needs    BCCD as COCO JSON in data/bccd, as tools/prepare_bccd.py makes it.
         The backbone starts from weights/, as on digits.
Run      python tools/train.py configs/frcnn_student_bccd.py
"""

_base_ = [
    '_base_/models/frcnn_slim_fpn.py',
    '_base_/datasets/bccd_detection.py',
    '_base_/schedules/short.py',
    '_base_/digits_runtime.py',
]
model = dict(
    rpn_head=dict(anchor_generator=dict(ratios=[0.7, 1.4])),
    roi_head=dict(bbox_head=dict(num_classes=3)),
    # up to 30 cells in an image
    train_cfg=dict(rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rcnn=dict(max_per_img=100)),
)
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=4)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min=2e-5,
        convert_to_iter_based=True,
    ),
]
