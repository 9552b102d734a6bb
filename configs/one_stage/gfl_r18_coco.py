"""GFL R18 on COCO, trained alone: the baseline.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: torchvision's ResNet-18.
Run      tools/dist_train.sh configs/one_stage/gfl_r18_coco.py 8
Paper    AP 35.8 (LD, BCKD). Not run here yet.
Derived  all but the backbone is MMDetection's GFL R50, 1x.
"""

_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
model = dict(
    backbone=dict(
        depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
# COCO's numbers, about three times as fast as CocoMetric
val_evaluator = dict(type='FasterCocoMetric')
test_evaluator = dict(type='FasterCocoMetric')
