"""PKD on digits in scenes, on the pyramid of GFL.

Needs    nothing; data are made on first use, the teacher is in weights/.
Run      python tools/train.py configs/one_stage/pkd_gfl_digits.py
Derived  loss_weight: see docs/results.md.
"""

_base_ = '../_base_/pairs/gfl_digits.py'
model = dict(
    distill=dict(
        loss_pkd=dict(
            type='luminet_mm.PKDLoss',
            signal='neck',
            loss_weight=3.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_pkd=dict(warmup=50)),
]
