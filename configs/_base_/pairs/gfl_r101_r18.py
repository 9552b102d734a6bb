# GFL R101 (44.7 AP) teaches R18: everything but the loss.
_base_ = '../../one_stage/gfl_r18_coco.py'
model = dict(
    type='luminet_mm.OneStageDistiller',
    teacher=dict(
        config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/gfl/'
            'gfl_r101_fpn_mstrain_2x_coco/'
            'gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth'
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
        min_metric=0.43,
    ),
]
