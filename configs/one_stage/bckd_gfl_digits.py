"""BCKD on digits in scenes, on classes and boxes of GFL.

Needs    nothing; data are made on first use, the teacher is in weights/.
Run      python tools/train.py configs/one_stage/bckd_gfl_digits.py
Derived  loss_weight: see docs/results.md.
"""

_base_ = '../_base_/pairs/gfl_digits.py'
model = dict(
    distill=dict(
        loss_bckd=dict(
            type='luminet_mm.BCKDLoss',
            signal=['cls_score', 'bbox_pred'],
            loss_weight=4.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_bckd=dict(warmup=50)),
]
