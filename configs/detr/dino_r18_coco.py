"""DINO R18 on COCO, trained alone: the baseline.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: torchvision's ResNet-18.
Run      tools/dist_train.sh configs/detr/dino_r18_coco.py 8
Paper    none has such a student at 12 epochs. Not run here yet.
Derived  all but the backbone is MMDetection's DINO R50, 4 scales, 12 epochs.
"""

_base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
model = dict(
    backbone=dict(
        depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')
    ),
    neck=dict(in_channels=[128, 256, 512]),
)
# COCO's numbers, about three times as fast as CocoMetric
val_evaluator = dict(type='FasterCocoMetric')
test_evaluator = dict(type='FasterCocoMetric')
