"""DIST on digits in scenes, on the logits of RoIs.

Needs    nothing; data are made on first use, the teacher is in weights/.
Run      python tools/train.py configs/dist_frcnn_digits.py
Derived  tau and loss_weight: see docs/results.md.
"""

_base_ = '_base_/pairs/frcnn_digits.py'
model = dict(
    distill=dict(
        loss_dist=dict(
            type='luminet_mm.DISTLoss',
            signal='roi.cls_score',
            tau=2.0,
            loss_weight=0.5,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_dist=dict(warmup=50)),
]
