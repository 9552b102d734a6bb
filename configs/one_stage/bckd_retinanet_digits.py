"""BCKD on digits in scenes, on classes and boxes of RetinaNet.

Needs    the teacher: configs/one_stage/retinanet_teacher_digits.py.
Run      python tools/train.py configs/one_stage/bckd_retinanet_digits.py
Derived  loss_weight: see docs/results.md.
"""

_base_ = '../_base_/pairs/retinanet_digits.py'
model = dict(
    distill=dict(
        loss_bckd=dict(
            type='luminet_mm.BCKDLoss',
            signal=['cls_score', 'bbox_pred'],
            loss_weight=10,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_bckd=dict(warmup=50)),
]
