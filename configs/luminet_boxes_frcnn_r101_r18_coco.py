"""LumiNet, boxes and RPN: R101 teaches R18 on boxes of its choice, on COCO.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (41.8 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/luminet_boxes_frcnn_r101_r18_coco.py 8
Paper    none has this combination. Not run here yet.
Derived  all of it: the losses and boxes of tools/distill.py, with which a
         student of 17.2 AP on digits has 26.7 (docs/results.md).
"""

_base_ = 'luminet_frcnn_r101_r18_coco.py'
model = dict(
    teacher=dict(boxes_per_step=512),
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
        loss_luminet=dict(warmup=1000),
        loss_boxes=dict(warmup=1000),
        loss_rpn=dict(warmup=1000),
    ),
]
