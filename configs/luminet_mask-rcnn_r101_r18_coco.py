"""LumiNet: Mask R-CNN R101 teaches R18 on COCO, on the logits of RoIs.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (42.7 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/luminet_mask-rcnn_r101_r18_coco.py 8
Paper    the LumiNet paper has no masks. Not run here yet.
Derived  everything; settings as for Faster R-CNN. Boxes and masks are learnt
         from annotations alone.
"""

_base_ = '_base_/pairs/mask-rcnn_r101_r18.py'
model = dict(
    distill=dict(
        loss_luminet=dict(
            type='luminet_mm.LumiNetLoss',
            signal='roi.cls_score',
            tau=1.0,
            loss_weight=1.0,
        )
    )
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.DistillScheduleHook', loss_luminet=dict(warmup=1000)
    ),
]
