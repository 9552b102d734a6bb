"""Binary KD on digits in scenes, on all points of RetinaNet.

Needs    the teacher: configs/one_stage/retinanet_teacher_digits.py.
Run      python tools/train.py configs/one_stage/binary_kd_retinanet_digits.py
Derived  loss_weight: see docs/results.md.
"""

_base_ = '../_base_/pairs/retinanet_digits.py'
model = dict(
    distill=dict(
        loss_binary_kd=dict(
            type='luminet_mm.BinaryKDLoss',
            signal='cls_score',
            loss_weight=0.5,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook', loss_binary_kd=dict(warmup=50)
    ),
]
