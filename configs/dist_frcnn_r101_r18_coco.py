"""DIST: R101 teaches R18 on COCO, on the logits of RoIs.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (41.8 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/dist_frcnn_r101_r18_coco.py 8
Paper    the LumiNet paper has no DIST on COCO. Not run here yet.
Derived  nothing of the loss: tau and weights are DIST's own for detectors.
"""

_base_ = '_base_/pairs/frcnn_r101_r18.py'
model = dict(
    distill=dict(
        loss_dist=dict(
            type='luminet_mm.DISTLoss',
            signal='roi.cls_score',
            beta=1.0,
            gamma=1.0,
            tau=1.0,
            loss_weight=1.0,
        )
    )
)
