"""KD-DETR: DINO R50 teaches R18 on COCO, on shared query points.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (49.0 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/detr/kddetr_dino_r50_r18_coco.py 8
Paper    none has this pair. Not run here yet.
Derived  the pair; weights and points are those of the authors' DAB-DETR.
"""

_base_ = '../_base_/pairs/dino_r50_r18.py'
model = dict(
    distill=dict(
        loss_kd_detr=dict(
            type='luminet_mm.KDDETRLoss', signal='queries', loss_weight=1.0
        )
    )
)
