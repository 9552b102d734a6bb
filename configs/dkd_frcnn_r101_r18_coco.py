"""DKD: R101 teaches R18 on COCO, on the logits of RoIs.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (41.8 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/dkd_frcnn_r101_r18_coco.py 8
Paper    AP 35.05, AP50 56.60, AP75 37.54 (LumiNet, Table 4). Not run here yet.
Derived  nothing of the loss: alpha, beta and tau are DKD's own for COCO.
"""

_base_ = '_base_/pairs/frcnn_r101_r18.py'
model = dict(
    distill=dict(
        loss_dkd=dict(
            type='luminet_mm.DKDLoss',
            signal='roi.cls_score',
            alpha=1.0,
            beta=0.25,
            tau=1.0,
            loss_weight=1.0,
        )
    )
)
