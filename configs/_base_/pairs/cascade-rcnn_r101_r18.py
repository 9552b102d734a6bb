# cascade R101 (42.5 AP) teaches R18: everything but the loss.
_base_ = '../../cascade-rcnn_r18_coco.py'
model = dict(
    type='luminet_mm.TwoStageDistiller',
    teacher=dict(
        config='mmdet::cascade_rcnn/cascade-rcnn_r101_fpn_20e_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/cascade_rcnn/'
            'cascade_rcnn_r101_fpn_20e_coco/'
            'cascade_rcnn_r101_fpn_20e_coco_'
            'bbox_mAP-0.425_20200504_231812-5057dcc5.pth'
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
        min_metric=0.41,
    )
]
