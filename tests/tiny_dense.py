"""Small one-stage detectors that the tests share."""

import copy
from functools import cache

import tiny
from mmengine.hub import get_config

_CONFIGS = dict(
    retinanet='retinanet/retinanet_r50_fpn_1x_coco.py',
    fcos='fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    fcos_strides='fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-'
    'centeronreg-giou_1x_coco.py',
    atss='atss/atss_r50_fpn_1x_coco.py',
    gfl='gfl/gfl_r50_fpn_1x_coco.py',
    rtmdet='rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
)
KINDS = tuple(_CONFIGS)


@cache
def _stock(kind):
    return get_config(f'mmdet::{_CONFIGS[kind]}').model


def detector(kind='retinanet', width=8, num_classes=4):
    """A stock detector's config, narrow enough for a step in 0.1 s."""
    model = copy.deepcopy(_stock(kind))
    model.backbone.init_cfg = None
    if kind == 'rtmdet':
        model.backbone.update(deepen_factor=0.17, widen_factor=0.125)
        channels = [32, 64, 128]
        model.neck.update(
            in_channels=channels, out_channels=32, num_csp_blocks=1
        )
    else:
        channels = [width * 2**stage for stage in range(4)]
        model.backbone.update(depth=18, base_channels=width)
        model.neck.update(in_channels=channels, out_channels=32)
    model.bbox_head.update(
        in_channels=32,
        feat_channels=32,
        stacked_convs=1,
        num_classes=num_classes,
    )
    return model


def distiller(student=None, teacher=None, **distill):
    """A distiller's config; by default BCKD on classes and boxes."""
    model = student or detector()
    model.type = 'luminet_mm.OneStageDistiller'
    model.teacher = dict(
        config=dict(model=teacher or detector()), checkpoint=None
    )
    model.distill = distill or dict(loss_bckd=bckd())
    return model


def bckd(**options):
    return dict(
        type='luminet_mm.BCKDLoss',
        signal=['cls_score', 'bbox_pred'],
        **options,
    )


build, prepared = tiny.build, tiny.prepared
