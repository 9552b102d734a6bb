"""MobileNetV1 on ImageNet-1k, trained alone: the baseline.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md).
Run      tools/dist_train.sh configs/imagenet/mobilenetv1_in1k.py 8
Paper    has no MobileNetV1. Not run here yet.
"""

_base_ = [
    '../_base_/models/mobilenetv1.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
]
