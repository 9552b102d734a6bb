# RTMDet-m (49.1 AP) teaches RTMDet-s: everything but the loss.
_base_ = 'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
model = dict(
    type='luminet_mm.OneStageDistiller',
    teacher=dict(
        config='mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v3.0/rtmdet/'
            'rtmdet_m_8xb32-300e_coco/'
            'rtmdet_m_8xb32-300e_coco_20220719_112220-229f527c.pth'
        ),
    ),
)
# COCO's numbers, about three times as fast as CocoMetric
val_evaluator = dict(type='FasterCocoMetric')
test_evaluator = dict(type='FasterCocoMetric')
# 8 GPUs x 32 images; --auto-scale-lr adapts lr to another product
auto_scale_lr = dict(base_batch_size=256)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
# Scores the teacher on val2017 and stops a run whose teacher does not work.
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='coco/bbox_mAP',
        min_metric=0.475,
    ),
]
