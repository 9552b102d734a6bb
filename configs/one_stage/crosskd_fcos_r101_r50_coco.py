"""CrossKD: FCOS R101 teaches R50 on COCO, through its own head.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (40.8 AP, MMDetection's zoo) and
         Detectron's ResNet-50, caffe.
Run      tools/dist_train.sh configs/one_stage/crosskd_fcos_r101_r50_coco.py 8
Paper    AP 41.1 (CrossKD); student alone 38.5. Not run here yet.
Derived  nothing: the published weights, positions and alignment.
"""

_base_ = '../_base_/pairs/fcos_r101_r50.py'
model = dict(
    distill=dict(
        loss_crosskd=dict(
            type='luminet_mm.CrossKDLoss',
            signal=[
                'bbox_head.cls_convs.1.preact',
                'bbox_head.reg_convs.1.preact',
                'cls_score',
                'bbox_pred',
            ],
            loss_weight=1.0,
        )
    )
)
