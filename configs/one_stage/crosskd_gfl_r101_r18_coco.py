"""CrossKD: GFL R101 teaches R18 on COCO, through its own head.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (44.7 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/one_stage/crosskd_gfl_r101_r18_coco.py 8
Paper    its figure for R18 was not looked up. Not run here yet.
Derived  the pair; settings are those of R50.
"""

_base_ = '../_base_/pairs/gfl_r101_r18.py'
model = dict(
    distill=dict(
        loss_crosskd=dict(
            type='luminet_mm.CrossKDLoss',
            signal=[
                'bbox_head.cls_convs.2.preact',
                'bbox_head.reg_convs.2.preact',
                'cls_score',
                'bbox_pred',
            ],
            loss_weight=1.0,
        )
    )
)
