# Faster R-CNN R101 (39.8 AP) teaches R50 for 24 epochs: all but the loss.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
model = dict(
    type='luminet_mm.TwoStageDistiller',
    teacher=dict(
        config='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/'
            'faster_rcnn_r101_fpn_2x_coco/faster_rcnn_r101_fpn_2x_coco_'
            'bbox_mAP-0.398_20200504_210455-1d2dac9c.pth'
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
        min_metric=0.38,
    ),
]
