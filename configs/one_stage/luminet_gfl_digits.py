"""LumiNet on digits in scenes, on points of GFL with an object.

Needs    nothing; data are made on first use, the teacher is in weights/.
Run      python tools/train.py configs/one_stage/luminet_gfl_digits.py
Derived  loss_weight: see docs/results.md.
         LumiNet on dense heads is an extension of this project.
"""

_base_ = '../_base_/pairs/gfl_digits.py'
model = dict(
    distill=dict(
        loss_luminet=dict(
            type='luminet_mm.DenseLumiNetLoss',
            signal='cls_score',
            loss_weight=0.6,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_luminet=dict(warmup=50)),
]
