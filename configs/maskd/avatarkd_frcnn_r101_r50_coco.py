"""AvatarKD: Faster R-CNN R101 teaches R50 on COCO, around MGD.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (39.8 AP, MMDetection's zoo) and
         torchvision's ResNet-50.
Run      tools/dist_train.sh configs/maskd/avatarkd_frcnn_r101_r50_coco.py 8
Paper    AP 40.9 (AvatarKD); student alone 38.4. Not run here yet.
Derived  the loss. The authors released no config of this pair; weight and
         mask_ratio are the defaults of their MGD. Their losses on the head
         are left out.
"""

_base_ = '../_base_/pairs/frcnn_r101_r50_2x.py'
model = dict(
    distill=dict(
        loss_mgd=dict(
            type='luminet_mm.MGDLoss',
            signal='neck',
            avatar=0.1,
            mask_ratio=0.65,
            loss_weight=2e-5,
        )
    )
)
