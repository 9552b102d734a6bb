"""PKD: Mask R-CNN Swin-S teaches RetinaNet R50 on COCO.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (48.2 AP, MMDetection's zoo) and
         torchvision's ResNet-50.
Run      tools/dist_train.sh configs/one_stage/pkd_mrcnn_retinanet_coco.py 8
Paper    AP 41.5 (PKD); student alone 37.4. Not run here yet.
Derived  levels: those of stride 8 to 64, which both pyramids have. The
         weight is the authors' for RetinaNet (MMRazor, 90c7af1).
"""

_base_ = '../_base_/pairs/mrcnn_retinanet_r50.py'
model = dict(
    distill=dict(
        loss_pkd=dict(
            type='luminet_mm.PKDLoss', signal='neck', loss_weight=10.0
        )
    )
)
