"""LumiNet, boxes and RPN on digits in scenes, on boxes the teacher chooses.

Needs    nothing; data are made on first use, the teacher is in weights/.
Run      python tools/train.py configs/luminet_boxes_frcnn_digits.py
Derived  all of it: the losses and boxes of tools/distill.py. Of five runs the
         mean is 26.7 AP (docs/results.md).
"""

_base_ = 'luminet_frcnn_digits.py'
model = dict(
    teacher=dict(boxes_per_step=64),
    distill=dict(
        loss_luminet=dict(loss_weight='auto'),
        loss_boxes=dict(
            type='luminet_mm.RoIBoxLoss',
            signal=['roi.cls_score', 'roi.bbox_pred'],
            loss_weight=dict(share=3),
        ),
        loss_rpn=dict(
            type='luminet_mm.BCKDLoss',
            signal=['rpn.objectness', 'rpn.deltas'],
            loss_weight=1.0,
        ),
    ),
)
custom_hooks = [
    _base_.custom_hooks[0],
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_luminet=dict(warmup=50),
        loss_boxes=dict(warmup=50),
        loss_rpn=dict(warmup=50),
    ),
]
