"""Faster R-CNN MobileNetV2 on COCO, trained alone: the baseline.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: OpenMMLab's ImageNet MobileNetV2.
Run      tools/dist_train.sh configs/frcnn_mobilenetv2_coco.py 8
Paper    the LumiNet paper has no such student. Not run here yet.
"""

_base_ = [
    '_base_/models/frcnn_mobilenetv2_fpn.py',
    '_base_/datasets/coco_multiscale.py',
    '_base_/schedules/coco_90k.py',
]
