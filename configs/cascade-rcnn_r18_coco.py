"""Cascade R-CNN R18 on COCO, trained alone: the baseline.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: torchvision's ResNet-18.
Run      tools/dist_train.sh configs/cascade-rcnn_r18_coco.py 8
Paper    the LumiNet paper has no cascade. Not run here yet.
Derived  schedule and frozen batch norm are those of the Faster R-CNN students.
"""

_base_ = [
    '_base_/models/cascade-rcnn_r18_fpn.py',
    '_base_/datasets/coco_multiscale.py',
    '_base_/schedules/coco_90k.py',
]
