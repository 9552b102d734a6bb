"""mmdet's own detectors train and predict on the operators of this package."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.hub import get_config
from mmengine.structures import InstanceData

CONFIGS = {
    'faster_rcnn': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mask_rcnn': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'cascade_rcnn': 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'retinanet': 'retinanet/retinanet_r50_fpn_1x_coco.py',
    'fcos': 'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'gfl': 'gfl/gfl_r50_fpn_1x_coco.py',
    'dcn': 'dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py',
    'soft_nms': 'faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco.py',
}
CHANNELS = 64  # two for each of the 32 groups of GN, at 1x1 too


def _small(name):
    """The model of one of mmdet's configs with ResNet-18 and few channels."""
    model = get_config(f'mmdet::{CONFIGS[name]}').model
    if 'dcn' in model.backbone:  # only its bottleneck has deformable layers
        model.backbone.update(base_channels=16, init_cfg=None)
    else:
        model.backbone.update(depth=18, init_cfg=None)
    model.neck.update(in_channels=[64, 128, 256, 512], out_channels=CHANNELS)
    for head in ('rpn_head', 'bbox_head'):
        if head in model:
            model[head].update(in_channels=CHANNELS, feat_channels=CHANNELS)
    if 'bbox_head' in model:
        model.bbox_head.update(stacked_convs=1)
    if 'roi_head' in model:
        roi_head = model.roi_head
        roi_head.bbox_roi_extractor.out_channels = CHANNELS
        heads = roi_head.bbox_head
        for head in heads if isinstance(heads, list) else [heads]:
            head.update(in_channels=CHANNELS, fc_out_channels=CHANNELS)
        if 'mask_head' in roi_head:
            roi_head.mask_roi_extractor.out_channels = CHANNELS
            roi_head.mask_head.update(
                in_channels=CHANNELS, conv_out_channels=CHANNELS
            )
    return model


def _batch(with_mask):
    from mmdet.structures.mask import BitmapMasks

    sample = DetDataSample(
        metainfo=dict(
            img_shape=(64, 64),
            ori_shape=(64, 64),
            pad_shape=(64, 64),
            batch_input_shape=(64, 64),
            scale_factor=(1.0, 1.0),
        )
    )
    gt = InstanceData(
        bboxes=torch.tensor(
            [[8.0, 8.0, 40.0, 40.0], [20.0, 30.0, 60.0, 56.0]]
        ),
        labels=torch.tensor([3, 17]),
    )
    if with_mask:
        masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
        masks[0, 8:40, 8:40] = 1
        masks[1, 30:56, 20:60] = 1
        gt.masks = BitmapMasks(masks.numpy(), 64, 64)
    sample.gt_instances = gt
    return torch.randn(1, 3, 64, 64), [sample]


@pytest.mark.parametrize('name', CONFIGS)
def test_trains_and_predicts(name):
    torch.manual_seed(0)
    model = MODELS.build(_small(name))
    inputs, samples = _batch(with_mask=name == 'mask_rcnn')
    model.train()
    losses, _ = model.parse_losses(model.loss(inputs, samples))
    losses.backward()
    assert losses.isfinite() and losses > 0
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert grads and all(g.isfinite().all() for g in grads)

    model.eval()
    test_cfg = model.test_cfg
    (test_cfg.rcnn if 'rcnn' in test_cfg else test_cfg).score_thr = 0.0
    with torch.no_grad():
        (result,) = model.predict(inputs, samples)
    pred = result.pred_instances
    assert 0 < len(pred) <= 100
    assert (pred.scores[:-1] >= pred.scores[1:]).all()
    assert pred.bboxes.shape == (len(pred), 4)
    assert (pred.bboxes >= 0).all() and (pred.bboxes <= 64).all()
    if name == 'mask_rcnn':
        assert pred.masks.shape == (len(pred), 64, 64)


DETRS = {
    'deformable_detr': 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'dino': 'dino/dino-4scale_r50_8xb2-12e_coco.py',
    'ddq': 'ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py',
}


@pytest.mark.parametrize('name', DETRS)
def test_detrs_with_deformable_attention_train_and_predict(name):
    torch.manual_seed(0)
    model = get_config(f'mmdet::{DETRS[name]}').model
    model.backbone.update(depth=18, init_cfg=None)
    model.neck.update(in_channels=[128, 256, 512])
    for part in ('encoder', 'decoder'):
        model[part].num_layers = 2
    model.num_queries = 20
    if name == 'ddq':
        model.dense_topk_ratio = 1.5
    with torch.random.fork_rng():
        model = MODELS.build(model)
    model.init_weights()
    inputs, samples = _batch(with_mask=False)
    model.train()
    losses, _ = model.parse_losses(model.loss(inputs, samples))
    losses.backward()
    assert losses.isfinite() and losses > 0
    attention = model.encoder.layers[0].self_attn
    assert attention.value_proj.weight.grad.abs().sum() > 0
    assert attention.sampling_offsets.bias.grad.abs().sum() > 0
    model.eval()
    with torch.no_grad():
        (result,) = model.predict(inputs, samples)
    assert result.pred_instances.bboxes.isfinite().all()
    assert 0 < len(result.pred_instances) <= 300


FURTHER = {
    'guided_anchoring': 'guided_anchoring/ga-retinanet_r50_fpn_1x_coco.py',
    'dyhead': 'dyhead/atss_r50_fpn_dyhead_1x_coco.py',
    'carafe': 'carafe/faster-rcnn_r50_fpn-carafe_1x_coco.py',
    'dpool': 'dcn/faster-rcnn_r50_fpn_dpool_1x_coco.py',
    'mdpool': 'dcnv2/faster-rcnn_r50_fpn_mdpool_1x_coco.py',
}


@pytest.mark.parametrize('name', FURTHER)
def test_further_operators_train_and_predict(name):
    torch.manual_seed(0)
    model = get_config(f'mmdet::{FURTHER[name]}').model
    model.backbone.update(depth=18, init_cfg=None)
    if 'pool' in name:
        layer = model.roi_head.bbox_roi_extractor.roi_layer
        layer.update(output_size=3, deform_fc_channels=32)
        model.roi_head.bbox_head.update(roi_feat_size=3, fc_out_channels=32)
    neck = model.neck[0] if name == 'dyhead' else model.neck
    neck.in_channels = [64, 128, 256, 512]
    model = MODELS.build(model)
    inputs, samples = _batch(with_mask=False)
    model.train()
    losses, _ = model.parse_losses(model.loss(inputs, samples))
    losses.backward()
    assert losses.isfinite() and losses > 0
    model.eval()
    with torch.no_grad():
        (result,) = model.predict(inputs, samples)
    assert result.pred_instances.bboxes.isfinite().all()
