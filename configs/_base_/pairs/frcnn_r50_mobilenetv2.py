# R50 (40.3 AP) teaches MobileNetV2: everything but the loss.
_base_ = '../../frcnn_mobilenetv2_coco.py'
model = dict(
    type='luminet_mm.TwoStageDistiller',
    teacher=dict(
        config='mmdet::faster_rcnn/faster-rcnn_r50_fpn_ms-3x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/'
            'faster_rcnn_r50_fpn_mstrain_3x_coco/'
            'faster_rcnn_r50_fpn_mstrain_3x_coco_20210524_110822-e10bd31c.pth'
        ),
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
# Scores the teacher on val2017 and stops a run whose teacher does not work.
custom_hooks = [
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='coco/bbox_mAP',
        min_metric=0.39,
    )
]
