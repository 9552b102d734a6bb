"""KD: R50 teaches MobileNetV2 on COCO, on the logits of RoIs.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (40.3 AP, MMDetection's zoo) and
         OpenMMLab's ImageNet MobileNetV2.
Run      tools/dist_train.sh configs/kd_frcnn_r50_mobilenetv2_coco.py 8
Paper    the LumiNet paper has no such pair. Not run here yet.
Derived  tau and loss_weight, those of kd_frcnn_r101_r18_coco.py.
"""

_base_ = '_base_/pairs/frcnn_r50_mobilenetv2.py'
model = dict(
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss',
            signal='roi.cls_score',
            tau=1.0,
            loss_weight=1.0,
        )
    )
)
