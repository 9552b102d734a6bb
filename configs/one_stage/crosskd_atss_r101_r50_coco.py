"""CrossKD: ATSS R101 teaches R50 on COCO, through its own head.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (41.5 AP, MMDetection's zoo) and
         torchvision's ResNet-50.
Run      tools/dist_train.sh configs/one_stage/crosskd_atss_r101_r50_coco.py 8
Paper    AP 41.8 (CrossKD); student alone 39.4. Not run here yet.
Derived  nothing: the published weights, positions and alignment.
"""

_base_ = '../_base_/pairs/atss_r101_r50.py'
model = dict(
    distill=dict(
        loss_crosskd=dict(
            type='luminet_mm.CrossKDLoss',
            signal=[
                'bbox_head.cls_convs.2.preact',
                'bbox_head.reg_convs.2.preact',
                'cls_score',
                'bbox_pred',
                'centerness',
            ],
            loss_weight=1.0,
        )
    )
)
