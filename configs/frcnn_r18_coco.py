"""Faster R-CNN R18 on COCO, trained alone: the baseline.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: torchvision's ResNet-18.
Run      tools/dist_train.sh configs/frcnn_r18_coco.py 8
Paper    AP 33.26, AP50 53.61, AP75 35.26 (LumiNet, Table 4). Not run here yet.
"""

_base_ = [
    '_base_/models/frcnn_r18_fpn.py',
    '_base_/datasets/coco_multiscale.py',
    '_base_/schedules/coco_90k.py',
]
