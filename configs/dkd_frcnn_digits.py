"""DKD on digits in scenes, on the logits of RoIs.

Needs    nothing; data are made on first use, the teacher is in weights/.
Run      python tools/train.py configs/dkd_frcnn_digits.py
Derived  tau and loss_weight: see docs/results.md.
"""

_base_ = '_base_/pairs/frcnn_digits.py'
model = dict(
    distill=dict(
        loss_dkd=dict(
            type='luminet_mm.DKDLoss',
            signal='roi.cls_score',
            tau=1.0,
            alpha=1.0,
            beta=0.25,
            loss_weight=1.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_dkd=dict(warmup=50)),
]
