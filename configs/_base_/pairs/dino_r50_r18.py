# DINO R50 (49.0 AP) teaches R18: everything but the loss.
_base_ = '../../detr/dino_r18_coco.py'
model = dict(
    type='luminet_mm.DETRDistiller',
    teacher=dict(
        config='mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v3.0/dino/'
            'dino-4scale_r50_8xb2-12e_coco/'
            'dino-4scale_r50_8xb2-12e_coco_20221202_182705-55b2bba2.pth'
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
        min_metric=0.475,
    ),
]
