# R101 (41.8 AP) teaches R18: everything but the loss.
_base_ = '../../frcnn_r18_coco.py'
model = dict(
    type='luminet_mm.TwoStageDistiller',
    teacher=dict(
        config='mmdet::faster_rcnn/faster-rcnn_r101_fpn_ms-3x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/'
            'faster_rcnn_r101_fpn_mstrain_3x_coco/'
            'faster_rcnn_r101_fpn_mstrain_3x_coco_20210524_110822-4d4d2ca8.pth'
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
        min_metric=0.40,
    )
]
