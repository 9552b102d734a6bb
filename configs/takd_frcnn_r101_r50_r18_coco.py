"""TAKD: R101 teaches R50, which teaches R18 on COCO, on the logits of RoIs.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing),
         and the assistant: train configs/kd_frcnn_r101_r50_coco.py first.
         Downloaded on first use: torchvision's ResNet-18.
Run      tools/dist_train.sh configs/takd_frcnn_r101_r50_r18_coco.py 8
Paper    AP 34.59, AP50 55.35, AP75 37.12 (LumiNet, Table 4), with an assistant
         that is not stated; student alone 33.26. Not run here yet.
Derived  the assistant, and tau and loss_weight of both links: those of
         configs/kd_frcnn_r101_r18_coco.py.
"""

_base_ = '_base_/pairs/frcnn_r101_r50_r18.py'
model = dict(
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss',
            signal='roi.cls_score',
            tau=1.0,
            loss_weight=1.0,
        )
    )
)
