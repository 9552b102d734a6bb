"""BCKD: GFL R101 teaches R50 on COCO, on classes and boxes.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (44.7 AP, MMDetection's zoo) and
         torchvision's ResNet-50.
Run      tools/dist_train.sh configs/one_stage/bckd_gfl_r101_r50_coco.py 8
Paper    AP 43.2 (BCKD); student alone 40.1. Not run here yet.
Derived  nothing but that levels without positives count: see BCKDLoss.
"""

_base_ = '../_base_/pairs/gfl_r101_r50.py'
model = dict(
    distill=dict(
        loss_bckd=dict(
            type='luminet_mm.BCKDLoss',
            signal=['cls_score', 'bbox_pred'],
            box_weight=4.0,
            loss_weight=1.0,
        )
    )
)
