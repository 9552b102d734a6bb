"""PKD: Mask R-CNN Swin-S teaches RetinaNet R50 on COCO.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (48.2 AP, MMDetection's zoo) and
         torchvision's ResNet-50.
Run      tools/dist_train.sh configs/one_stage/pkd_mrcnn_retinanet_coco.py 8
Paper    AP 41.5 (PKD); student alone 37.4. Not run here yet.
Derived  nothing: the first four levels by index, so that P3 of the student is
         resized to the teacher's P2, as in the authors' config (MMRazor,
         5d748a2). Without levels, those of equal stride are compared.
"""

_base_ = '../_base_/pairs/mrcnn_retinanet_r50.py'
model = dict(
    distill=dict(
        loss_pkd=dict(
            type='luminet_mm.PKDLoss',
            signal='neck',
            levels=[0, 1, 2, 3],
            loss_weight=6.0,
        )
    )
)
