"""LD: GFL R101 teaches R18 on COCO, on the distributions of box sides.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (44.7 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/one_stage/ld_gfl_r101_r18_coco.py 8
Paper    AP 36.5 with positives only (LD); student alone 35.8. Not run here
         yet.
Derived  near misses and classes, with the settings of R50.
"""

_base_ = '../_base_/pairs/gfl_r101_r18.py'
model = dict(
    distill=dict(
        loss_ld=dict(
            type='luminet_mm.LDLoss',
            signal=['cls_score', 'bbox_pred'],
            main_weight=0.25,
            vlr_weight=0.25,
            kd_weight=10.0,
            tau=10.0,
            kd_tau=2.0,
            loss_weight=1.0,
        )
    )
)
