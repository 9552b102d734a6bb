"""The pairs that are used if the user names none: small, for small images.

The numbers are those of ``configs/_base_/models/frcnn_slim_fpn.py`` and of the
teacher beside it; what depends on the data is fitted.
"""

from __future__ import annotations

from typing import Any

from luminet_mm.recipe.fitting import Fit

STUDENT, TEACHER = 16, 24
"""Channels of the first stage of either backbone, a ResNet-18."""
WEIGHTS = {
    STUDENT: 'digits_student_backbone.pth',
    TEACHER: 'digits_teacher.pth',
}
LR, LAST_LR = 0.002, 2e-5
DETECTOR_BASES = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    'mmdet::_base_/default_runtime.py',
]
CLASSIFIER_BASES = ['mmpretrain::_base_/default_runtime.py']
_ATTRIBUTES = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def optimizer(decay: float) -> dict[str, Any]:
    """AdamW, with clipped gradients.

    Args:
        decay: Of the weights.
    """
    return dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=LR, weight_decay=decay),
        clip_grad=dict(max_norm=35.0),
    )


def _start(weights: str | None) -> dict[str, Any] | None:
    if weights is None:
        return None
    return dict(type='Pretrained', prefix='backbone.', checkpoint=weights)


def _stages(base: int) -> list[int]:
    return [base, 2 * base, 4 * base, 8 * base]


def detector_student(
    classes: int, fit: Fit, weights: str | None
) -> dict[str, Any]:
    """Changes of MMDetection's Faster R-CNN.

    Args:
        classes: How many there are.
        fit: Anchors and box numbers.
        weights: That the backbone starts from.
    """
    return dict(
        backbone=dict(
            depth=18,
            base_channels=STUDENT,
            stem_channels=STUDENT,
            frozen_stages=-1,
            norm_eval=False,
            init_cfg=_start(weights),
        ),
        neck=dict(in_channels=_stages(STUDENT), out_channels=32, num_outs=4),
        rpn_head=dict(
            in_channels=32,
            feat_channels=32,
            anchor_generator=dict(
                scales=fit.scales, ratios=fit.ratios, strides=[4, 8, 16, 32]
            ),
        ),
        roi_head=dict(
            bbox_roi_extractor=dict(
                out_channels=32,
                finest_scale=24,
                roi_layer=dict(sampling_ratio=1),
            ),
            bbox_head=dict(
                in_channels=32,
                fc_out_channels=128,
                num_classes=classes,
                reg_class_agnostic=True,
            ),
        ),
        train_cfg=dict(
            rpn=dict(sampler=dict(num=128)),
            rpn_proposal=dict(nms_pre=300, max_per_img=150),
            rcnn=dict(sampler=dict(num=fit.rois)),
        ),
        test_cfg=dict(
            rpn=dict(nms_pre=300, max_per_img=max(100, fit.detections)),
            rcnn=dict(max_per_img=fit.detections),
        ),
    )


def _wider(weights: str | None) -> dict[str, Any]:
    """What a teacher's backbone changes of the student's."""
    return dict(
        base_channels=TEACHER,
        stem_channels=TEACHER,
        init_cfg=_start(weights),
    )


def detector_teacher(weights: str | None) -> dict[str, Any]:
    """Changes of the student: half as wide again.

    Args:
        weights: That the backbone starts from.
    """
    return dict(
        backbone=_wider(weights),
        neck=dict(in_channels=_stages(TEACHER), out_channels=40),
        rpn_head=dict(in_channels=40, feat_channels=40),
        roi_head=dict(
            bbox_roi_extractor=dict(out_channels=40),
            bbox_head=dict(in_channels=40),
        ),
    )


def classifier_student(classes: int, weights: str | None) -> dict[str, Any]:
    """A narrow ResNet-18, the detector's backbone.

    Args:
        classes: How many there are.
        weights: That the backbone starts from.
    """
    return dict(
        type='ImageClassifier',
        data_preprocessor=dict(
            num_classes=classes, **_ATTRIBUTES, to_rgb=True
        ),
        backbone=dict(
            type='mmdet.ResNet',
            depth=18,
            base_channels=STUDENT,
            stem_channels=STUDENT,
            out_indices=(3,),
            norm_eval=False,
            init_cfg=_start(weights),
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=classes,
            in_channels=8 * STUDENT,
            loss=dict(type='CrossEntropyLoss'),
        ),
    )


def classifier_teacher(weights: str | None) -> dict[str, Any]:
    """Changes of the student: half as wide again.

    Args:
        weights: That the backbone starts from.
    """
    return dict(
        backbone=_wider(weights),
        head=dict(in_channels=8 * TEACHER),
    )
