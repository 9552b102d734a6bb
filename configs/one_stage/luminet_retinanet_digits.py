"""LumiNet on digits in scenes, on points of RetinaNet with an object.

Needs    the teacher: configs/one_stage/retinanet_teacher_digits.py.
Run      python tools/train.py configs/one_stage/luminet_retinanet_digits.py
Derived  loss_weight: see docs/results.md.
         LumiNet on dense heads is an extension of this project.
"""

_base_ = '../_base_/pairs/retinanet_digits.py'
model = dict(
    distill=dict(
        loss_luminet=dict(
            type='luminet_mm.DenseLumiNetLoss',
            signal='cls_score',
            loss_weight=0.3,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_luminet=dict(warmup=50)),
]
