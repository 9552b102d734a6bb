# FCOS R101 (40.8 AP) teaches R50: everything but the loss.
_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
model = dict(
    type='luminet_mm.OneStageDistiller',
    teacher=dict(
        config='mmdet::fcos/fcos_r101-caffe_fpn_gn-head_ms-640-800-2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/fcos/'
            'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco/'
            'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco-511424d6.pth'
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
        min_metric=0.39,
    ),
]
