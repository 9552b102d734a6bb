# Faster R-CNN, ResNet-18 and FPN, as a student.
_base_ = 'frcnn_r50_fpn.py'
model = dict(
    backbone=dict(
        depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
