"""FCFD: R101 teaches R18 on COCO, on the pyramid and through both RoI heads.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (41.8 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh configs/fcfd_frcnn_r101_r18_coco.py 8
Paper    the LumiNet paper has no FCFD on COCO. Not run here yet.
Derived  nothing of the loss: weights and tau are FCFD's own for this pair.
"""

_base_ = '_base_/pairs/frcnn_r101_r18.py'
model = dict(
    distill=dict(
        loss_fcfd=dict(
            type='luminet_mm.FCFDRoILoss',
            signal=['neck', 'roi.cls_score', 'roi.bbox_pred'],
            tau=1.0,
            feature_weight=1.0,
            kd_weight=1.0,
            box_weight=1.0,
            loss_weight=1.0,
        )
    )
)
