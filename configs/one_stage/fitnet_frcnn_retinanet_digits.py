"""FitNet on digits in scenes: Faster R-CNN teaches RetinaNet.

Needs    nothing; data are made on first use, the teacher is in weights/.
Run      python tools/train.py \
         configs/one_stage/fitnet_frcnn_retinanet_digits.py
Derived  loss_weight: see docs/results.md.
"""

_base_ = '../_base_/pairs/frcnn_retinanet_digits.py'
model = dict(
    distill=dict(
        loss_fitnet=dict(
            type='luminet_mm.FitNetLoss',
            signal='neck',
            loss_weight=3.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='luminet_mm.DistillScheduleHook', loss_fitnet=dict(warmup=50)),
]
