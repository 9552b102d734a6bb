"""LumiNet: R101 teaches R18 on COCO, on the logits of RoIs.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (41.8 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/luminet_frcnn_r101_r18_coco.py 8
Paper    AP 35.34, AP50 56.82, AP75 37.56 (LumiNet, Table 4); student alone
         33.26, teacher 42.04. Not run here yet.
Derived  tau, loss_weight, background and warm-up. The authors released neither
         detection code nor its settings.
"""

_base_ = '_base_/pairs/frcnn_r101_r18.py'
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
