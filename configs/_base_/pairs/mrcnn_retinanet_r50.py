# Mask R-CNN Swin-S (48.2 AP) teaches RetinaNet R50: everything but the loss.
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
model = dict(
    type='luminet_mm.OneStageDistiller',
    teacher=dict(
        config='mmdet::swin/mask-rcnn_swin-s-p4-w7_fpn_amp-ms-crop-3x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/swin/'
            'mask_rcnn_swin-s-p4-w7_fpn_fp16_ms-crop-3x_coco/'
            'mask_rcnn_swin-s-p4-w7_fpn_fp16_ms-crop-3x_coco_20210903_'
            '104808-b92c91f1.pth'
        ),
    ),
)
# COCO's numbers, about three times as fast as CocoMetric
val_evaluator = dict(type='FasterCocoMetric')
test_evaluator = dict(type='FasterCocoMetric')
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
# Scores the teacher on val2017 and stops a run whose teacher does not work.
custom_hooks = [
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='coco/bbox_mAP',
        min_metric=0.46,
    ),
]
