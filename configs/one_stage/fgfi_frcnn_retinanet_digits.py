"""FGFI on digits in scenes: Faster R-CNN teaches RetinaNet.

Needs    nothing; data are made on first use, the teacher is in weights/.
Run      python tools/train.py configs/one_stage/fgfi_frcnn_retinanet_digits.py
Derived  loss_weight: see docs/results.md.
"""

_base_ = '../_base_/pairs/frcnn_retinanet_digits.py'
model = dict(
    distill=dict(
        loss_fgfi=dict(
            type='luminet_mm.FGFILoss',
            signal='neck',
            loss_weight=0.03,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_fgfi=dict(warmup=50)),
]
