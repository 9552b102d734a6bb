"""Small DETRs that the tests share."""

import copy
from functools import cache

import tiny
from mmengine.hub import get_config

_CONFIGS = dict(
    deformable='deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    two_stage='deformable_detr/'
    'deformable-detr-refine-twostage_r50_16xb2-50e_coco.py',
    dino='dino/dino-4scale_r50_8xb2-12e_coco.py',
    dab='dab_detr/dab-detr_r50_8xb2-50e_coco.py',
    conditional='conditional_detr/conditional-detr_r50_8xb2-50e_coco.py',
    detr='detr/detr_r50_8xb2-150e_coco.py',
    ddq='ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py',
)
KINDS = ('deformable', 'two_stage', 'dino', 'dab', 'conditional', 'detr')
SIGMOID = KINDS[:-1]  # DETR itself has a softmax
POINTS = KINDS[:-2]  # queries with a place
_DENOISING = 4


@cache
def _stock(kind):
    return get_config(f'mmdet::{_CONFIGS[kind]}').model


def detector(kind='deformable', dropout=0.0, num_classes=4, queries=20):
    """A stock detector's config, with two narrow layers of each coder."""
    model = copy.deepcopy(_stock(kind))
    # the width of an embedded place is fixed in mmdet
    dims = 256 if kind in ('two_stage', 'conditional') else 32
    model.backbone.update(depth=18, base_channels=8, init_cfg=None)
    model.backbone.update(frozen_stages=-1)
    channels = [8, 16, 32, 64]
    outputs = model.backbone.out_indices
    model.neck.update(
        in_channels=[channels[i] for i in outputs], out_channels=dims
    )
    if 'norm_cfg' in model.neck and model.neck.norm_cfg:
        model.neck.norm_cfg.num_groups = 4
    model.num_queries = queries
    model.bbox_head.update(num_classes=num_classes, embed_dims=dims)
    model.positional_encoding.num_feats = dims // 2
    for coder in (model.encoder, model.decoder):
        coder.num_layers = 2
        layer = coder.layer_cfg
        for key in ('self_attn_cfg', 'cross_attn_cfg'):
            if key in layer:
                layer[key].update(embed_dims=dims)
                names = {*layer[key]} & {'attn_drop', 'proj_drop'}
                for name in names or {'dropout'}:
                    layer[key][name] = dropout
        layer.ffn_cfg.update(
            embed_dims=dims, feedforward_channels=64, ffn_drop=dropout
        )
    if 'dn_cfg' in model:
        model.dn_cfg.group_cfg = dict(dynamic=False, num_groups=_DENOISING)
    return model


def distiller(student=None, teacher=None, **distill):
    """A distiller's config; by default DETRDistill."""
    model = student or detector()
    model.type = 'luminet_mm.DETRDistiller'
    model.teacher = dict(
        config=dict(model=teacher or detector()), checkpoint=None
    )
    model.distill = distill or dict(loss_match=matched())
    return model


def matched(**options):
    return dict(
        type='luminet_mm.DETRDistillLoss',
        signal=['cls_score', 'bbox_pred'],
        **options,
    )


def shared(random_points=10, **options):
    return dict(
        type='luminet_mm.KDDETRLoss',
        signal='queries',
        random_points=random_points,
        **options,
    )


def losses(kind, **options):
    """Both losses, where the kind has what they compare."""
    found = dict(loss_match=matched(**options)) if kind in SIGMOID else {}
    if kind in POINTS:
        found.update(loss_shared=shared(**options))
    return found or dict(
        loss_pkd=dict(type='luminet_mm.PKDLoss', signal='neck', **options)
    )


build, prepared = tiny.build, tiny.prepared
