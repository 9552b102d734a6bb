"""LumiNet: Cascade R-CNN R101 teaches R18 on COCO, one loss a stage.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (42.5 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/luminet_cascade-rcnn_r101_r18_coco.py 8
Paper    the LumiNet paper has no cascade. Not run here yet.
Derived  everything; a stage's weight is that of its supervised losses, the
         rest is as for Faster R-CNN.
"""

_base_ = '_base_/pairs/cascade-rcnn_r101_r18.py'
model = dict(
    distill=dict(
        loss_luminet0=dict(
            type='luminet_mm.LumiNetLoss',
            signal='roi.0.cls_score',
            tau=1.0,
            loss_weight=1.0,
        ),
        loss_luminet1=dict(
            type='luminet_mm.LumiNetLoss',
            signal='roi.1.cls_score',
            tau=1.0,
            loss_weight=0.5,
        ),
        loss_luminet2=dict(
            type='luminet_mm.LumiNetLoss',
            signal='roi.2.cls_score',
            tau=1.0,
            loss_weight=0.25,
        ),
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook',
        loss_luminet0=dict(warmup=1000),
        loss_luminet1=dict(warmup=1000),
        loss_luminet2=dict(warmup=1000),
    ),
]
