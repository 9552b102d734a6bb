"""LumiNet on blood cells (BCCD), on the logits of RoIs.

Needs    data/bccd, and the teacher: train configs/frcnn_teacher_bccd.py first.
Run      python tools/train.py configs/luminet_frcnn_bccd.py
Derived  tau and loss_weight: see docs/results.md.
"""

_base_ = '_base_/pairs/frcnn_bccd.py'
model = dict(
    distill=dict(
        loss_luminet=dict(
            type='luminet_mm.LumiNetLoss',
            signal='roi.cls_score',
            tau=1.0,
            loss_weight=1.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_luminet=dict(warmup=50)),
]
