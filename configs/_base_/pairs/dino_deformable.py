# DINO R50 (49.0 AP) teaches Deformable DETR R50: everything but the loss.
_base_ = 'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
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
        min_metric=0.475,
    ),
]
