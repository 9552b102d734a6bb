"""DETRDistill: DINO R50 teaches Deformable DETR R50 on COCO.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (49.0 AP, MMDetection's zoo) and
         torchvision's ResNet-50.
Run      tools/dist_train.sh \
         configs/detr/detrdistill_dino_deformable_coco.py 8
Paper    none has this pair. Not run here yet.
Derived  the combination, and top_k; weights are the authors'. Of DETRDistill
         only matched predictions are here, not features and query groups.
"""

_base_ = '../_base_/pairs/dino_deformable.py'
model = dict(
    distill=dict(
        loss_match=dict(
            type='luminet_mm.DETRDistillLoss',
            signal=['cls_score', 'bbox_pred'],
            top_k=300,
            loss_weight=1.0,
        )
    )
)
