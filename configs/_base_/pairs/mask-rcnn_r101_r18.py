# R101 (42.7 AP) teaches R18: everything but the loss.
_base_ = '../../mask-rcnn_r18_coco.py'
model = dict(
    type='luminet_mm.TwoStageDistiller',
    teacher=dict(
        config='mmdet::mask_rcnn/mask-rcnn_r101_fpn_ms-poly-3x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/'
            'mask_rcnn_r101_fpn_mstrain-poly_3x_coco/'
            'mask_rcnn_r101_fpn_mstrain-poly_3x_coco_'
            '20210524_200244-5675c317.pth'
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
