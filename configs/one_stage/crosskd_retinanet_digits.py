"""CrossKD on digits in scenes, through the RetinaNet teacher's head.

Needs    the teacher: configs/one_stage/retinanet_teacher_digits.py.
Run      python tools/train.py configs/one_stage/crosskd_retinanet_digits.py
Derived  loss_weight: see docs/results.md.
"""

_base_ = '../_base_/pairs/retinanet_digits.py'
model = dict(
    distill=dict(
        loss_crosskd=dict(
            type='luminet_mm.CrossKDLoss',
            signal=[
                'bbox_head.cls_convs.0.preact',
                'bbox_head.reg_convs.0.preact',
                'cls_score',
                'bbox_pred',
            ],
            loss_weight=20,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_crosskd=dict(warmup=50)),
]
