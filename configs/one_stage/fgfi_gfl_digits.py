"""FGFI on digits in scenes, on the pyramid of GFL.

Needs    nothing; data are made on first use, the teacher is in weights/.
Run      python tools/train.py configs/one_stage/fgfi_gfl_digits.py
Derived  loss_weight: see docs/results.md.
"""

_base_ = '../_base_/pairs/gfl_digits.py'
model = dict(
    distill=dict(
        loss_fgfi=dict(
            type='luminet_mm.FGFILoss',
            signal='neck',
            loss_weight=0.2,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_fgfi=dict(warmup=50)),
]
