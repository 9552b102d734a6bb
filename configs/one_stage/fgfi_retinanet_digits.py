"""FGFI on digits in scenes, on the pyramid of RetinaNet.

Needs    the teacher: configs/one_stage/retinanet_teacher_digits.py.
Run      python tools/train.py configs/one_stage/fgfi_retinanet_digits.py
Derived  loss_weight: see docs/results.md.
"""

_base_ = '../_base_/pairs/retinanet_digits.py'
model = dict(
    distill=dict(
        loss_fgfi=dict(
            type='luminet_mm.FGFILoss',
            signal='neck',
            loss_weight=0.06,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_fgfi=dict(warmup=50)),
]
