# R50, which R101 taught, teaches R18: everything but the loss.
_base_ = '../../frcnn_r18_coco.py'
model = dict(
    type='luminet_mm.TwoStageDistiller',
    teacher=dict(
        config='configs/kd_frcnn_r101_r50_coco.py',
        checkpoint='work_dirs/kd_frcnn_r101_r50_coco/iter_90000.pth',
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
# Scores the teacher on val2017 and stops a run whose teacher does not work.
# The zoo's R50 of as many epochs (faster-rcnn_r50_fpn_1x_coco) has 37.4 AP.
custom_hooks = [
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='coco/bbox_mAP',
        min_metric=0.36,
    )
]
