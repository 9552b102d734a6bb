"""MasKD: Faster R-CNN R101 teaches R50 on COCO, where its masks look.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing),
         and the masks: first run configs/maskd/masks_frcnn_r101_coco.py.
         Downloaded on first use: the teacher (39.8 AP, MMDetection's zoo) and
         torchvision's ResNet-50.
Run      tools/dist_train.sh configs/maskd/maskd_frcnn_r101_r50_coco.py 8
Paper    AP 41.0 (MasKD); student alone 38.4. Not run here yet.
Derived  the authors' smooth L1 loss on the predicted boxes is left out.
"""

_base_ = '../_base_/pairs/frcnn_r101_r50_2x.py'
model = dict(
    distill=dict(
        loss_maskd=dict(
            type='luminet_mm.MasKDLoss',
            signal='neck',
            masks='work_dirs/masks_frcnn_r101_coco/iter_2000.pth',
            warmup=7330,
            loss_weight=1.0,
        )
    )
)
