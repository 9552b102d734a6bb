"""FGD on digits in scenes: Faster R-CNN teaches RetinaNet.

Needs    nothing; data are made on first use, the teacher is in weights/.
Run      python tools/train.py configs/one_stage/fgd_frcnn_retinanet_digits.py
Derived  loss_weight: see docs/results.md.
"""

_base_ = '../_base_/pairs/frcnn_retinanet_digits.py'
model = dict(
    distill=dict(
        loss_fgd=dict(
            type='luminet_mm.FGDLoss',
            signal='neck',
            loss_weight=30.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_fgd=dict(warmup=50)),
]
