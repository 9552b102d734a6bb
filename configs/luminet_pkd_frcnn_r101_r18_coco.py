"""LumiNet with PKD: R101 teaches R18 on COCO, logits of RoIs and the pyramid.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (41.8 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/luminet_pkd_frcnn_r101_r18_coco.py 8
Paper    none has this combination. Not run here yet.
Derived  the combination; LumiNet's settings, those of
         configs/luminet_frcnn_r101_r18_coco.py. PKD's weight and levels are
         its authors' for two-stage detectors (MMRazor, 90c7af1).
"""

_base_ = 'luminet_frcnn_r101_r18_coco.py'
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
