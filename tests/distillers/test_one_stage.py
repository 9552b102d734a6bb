"""OneStageDistiller: the stock student, with a teacher at its side."""

import copy

import pytest
import tiny_dense as tiny
import torch
from mmengine.config import Config


def step(model, seed=0):
    data = tiny.prepared(model, seed=seed)
    torch.manual_seed(seed)
    losses = model.loss(data['inputs'], data['data_samples'])
    model.parse_losses(losses)[0].backward()
    return losses


def distiller(kind, **options):
    return tiny.build(
        tiny.distiller(
            tiny.detector(kind),
            tiny.detector(kind),
            loss_bckd=tiny.bckd(**options),
        )
    )


@pytest.mark.parametrize('kind', tiny.KINDS)
def test_keys_are_the_stock_students_and_every_part_learns(kind):
    model = distiller(kind)
    stock = tiny.build(tiny.detector(kind))
    assert list(model.state_dict()) == list(stock.state_dict())
    losses = step(model)
    assert losses['loss_bckd'].item() > 0
    model.zero_grad()
    data = tiny.prepared(model)
    model.loss(data['inputs'], data['data_samples'])['loss_bckd'].backward()
    for part in (model.backbone, model.neck, model.bbox_head):
        assert any(
            p.grad is not None and p.grad.abs().sum() > 0
            for p in part.parameters()
        )


@pytest.mark.parametrize('kind', tiny.KINDS)
def test_zero_weight_trains_like_stock(kind):
    model = distiller(kind, loss_weight=0.0)
    stock = tiny.build(tiny.detector(kind))
    for each in (model, stock):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.01)
        for seed in range(2):
            optimizer.zero_grad()
            step(each, seed)
            optimizer.step()
    for key, value in stock.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


@pytest.mark.parametrize('kind', tiny.KINDS)
def test_a_teacher_with_the_students_weights_teaches_nothing(kind):
    """Also where a head says something else in eval mode (FCOS)."""
    cfg = tiny.distiller(
        tiny.detector(kind), tiny.detector(kind), loss_bckd=tiny.bckd()
    )
    cfg.teacher.fold_bn = False
    model = tiny.build(cfg)
    data = tiny.prepared(model)
    before = model.loss(data['inputs'], data['data_samples'])['loss_bckd']
    model.teacher.model.load_state_dict(model.state_dict())
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    after = model.loss(data['inputs'], data['data_samples'])['loss_bckd']
    # rounding of GIoU's eps; the random teacher is a hundred thousand times
    # as far
    assert after < 1e-5 * before


@pytest.mark.parametrize('kind', tiny.KINDS)
def test_row_i_is_the_same_point_of_both(kind):
    """A change at one place of a teacher's map is one of the same row."""
    model = tiny.build(
        tiny.distiller(
            tiny.detector(kind),
            tiny.detector(kind),
            loss_bckd=dict(type='luminet_mm.BCKDLoss', signal='cls_score'),
        )
    )
    model.fit_teacher(0)
    seen = []
    loss = model.distill.loss_bckd
    forward = loss.forward
    loss.forward = lambda s, t, b: seen.append((s, t, b)) or forward(s, t, b)
    data = tiny.prepared(model)
    places = dict(image=1, channel=-1, y=1, x=2, level=0)

    def change(module, args, output):
        scores = [each.clone() for each in output[0]]
        scores[places['level']][
            places['image'], places['channel'], places['y'], places['x']
        ] += 5
        return scores, *output[1:]

    for head in (model.teacher.model.bbox_head, model.bbox_head):
        with torch.no_grad():
            model.loss(data['inputs'], data['data_samples'])
            handle = head.register_forward_hook(change)
            model.loss(data['inputs'], data['data_samples'])
            handle.remove()
    plain, theirs, _, ours = seen
    changed = [
        (a[places['level']] - b[places['level']]).abs() > 1
        for a, b in ((theirs[1], plain[1]), (ours[0], plain[0]))
    ]
    assert changed[0].sum() == 1 and torch.equal(*changed)
    # and the label of that row is that of that point
    points = plain[2].points
    assert [len(x) for x in points.labels] == [len(x) for x in plain[0]]


def test_labels_are_those_of_the_heads_own_loss():
    model = distiller('retinanet')
    seen = {}
    loss = model.distill.loss_bckd
    forward = loss.forward
    loss.forward = lambda s, t, b: seen.update(batch=b) or forward(s, t, b)
    head = model.bbox_head
    stock = head.loss_by_feat_single

    def single(cls_score, bbox_pred, anchors, labels, weights, *args, **kw):
        seen.setdefault('labels', []).append(labels.reshape(-1))
        seen.setdefault('weights', []).append(weights.reshape(-1))
        seen['factor'] = kw['avg_factor']
        return stock(
            cls_score, bbox_pred, anchors, labels, weights, *args, **kw
        )

    head.loss_by_feat_single = single
    step(model)
    points = seen['batch'].points
    for ours, theirs in zip(points.labels, seen['labels']):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(points.weights, seen['weights']):
        assert torch.equal(ours, theirs)
    assert points.num_pos == seen['factor'] > 1
    assert 'get_targets' not in vars(head)  # no tap stays behind


# fcos_strides decodes pixels and strides together, as its own loss does
@pytest.mark.parametrize('kind', [k for k in tiny.KINDS if '_' not in k])
def test_decoded_boxes_are_those_of_the_heads_predictions(kind):
    """Of a head without size limits: what it predicts in eval mode."""
    model = distiller(kind).eval()
    head = model.bbox_head
    data = tiny.prepared(model)
    family = model.family
    signal = family.find(model, 'bbox_pred', 'student')
    with torch.no_grad():
        maps = family.ahead(model, data['inputs'], [signal])['bbox_pred']
        from luminet_mm.signals.dense_record import decode, level_rows

        rows = level_rows(head, signal, maps)
        shapes = [each.shape for each in maps]
        results = head.predict_by_feat(
            *model.bbox_head(model.extract_feat(data['inputs'])),
            batch_img_metas=[x.metainfo for x in data['data_samples']],
            cfg=Config(
                dict(
                    nms_pre=10**6,
                    min_bbox_size=-1,
                    score_thr=-1.0,
                    max_per_img=10**6,
                )
            ),
            rescale=False,
            with_nms=False,
        )
    height, width = data['data_samples'][0].img_shape[:2]
    limits = torch.tensor([width, height, width, height])
    boxes = []
    for level, each in enumerate(rows):
        box = decode(head, shapes, level, each)
        scale = head.prior_generator.strides[level][0]
        if kind == 'gfl':
            box = box * scale
        boxes.append(box.view(len(data['inputs']), -1, 4)[0])
    found = torch.cat(boxes).clamp(min=0).minimum(limits)
    shown = results[0].bboxes.minimum(limits).clamp(min=0)
    for box in found[:: max(1, len(found) // 20)]:
        assert (shown - box).abs().sum(1).min() < 1e-2


def test_other_strides_anchors_and_bins_are_refused():
    teacher = tiny.detector()
    teacher.bbox_head.anchor_generator.update(octave_base_scale=3)
    with pytest.raises(ValueError, match=r'priors of a point.*differ: .*-22'):
        tiny.build(tiny.distiller(teacher=teacher))
    teacher = tiny.detector()
    teacher.bbox_head.anchor_generator.update(ratios=[1.0])
    with pytest.raises(ValueError, match='priors of a point.*in the teacher'):
        tiny.build(tiny.distiller(teacher=teacher))
    teacher = tiny.detector('fcos')
    with pytest.raises(ValueError, match='strides|priors'):
        tiny.build(tiny.distiller(teacher=teacher))
    teacher = tiny.detector('gfl')
    teacher.bbox_head.reg_max = 8
    with pytest.raises(ValueError, match="numbers for a prior.*'bins': 8"):
        tiny.build(tiny.distiller(tiny.detector('gfl'), teacher))


def test_other_classes_are_refused():
    with pytest.raises(ValueError, match='4 classes and the teacher has 3'):
        tiny.build(tiny.distiller(teacher=tiny.detector(num_classes=3)))


def test_a_head_that_assigns_otherwise_is_refused_by_name():
    from mmengine.hub import get_config

    model = copy.deepcopy(
        get_config('mmdet::paa/paa_r50_fpn_1x_coco.py').model
    )
    model.backbone.update(depth=18, init_cfg=None)
    model.neck.update(in_channels=[64, 128, 256, 512])
    model.bbox_head.num_classes = 4
    teacher = copy.deepcopy(model)
    with pytest.raises(ValueError, match=r'\(PAAHead\).*way of its own'):
        tiny.build(tiny.distiller(model, teacher))


def test_features_are_compared_as_of_any_detector():
    """Of another pyramid than RetinaNet's, on which test_method.py trains."""
    model = tiny.build(
        tiny.distiller(
            tiny.detector('rtmdet'),
            tiny.detector('rtmdet'),
            loss_pkd=dict(type='luminet_mm.PKDLoss', signal='neck'),
            loss_fgd=dict(type='luminet_mm.FGDLoss', signal='neck'),
        )
    )
    losses = step(model)
    assert losses['loss_pkd'] > 0 and losses['loss_fgd'] > 0


def test_images_without_objects():
    model = distiller('gfl')
    data = tiny.prepared(model)
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    losses = model.loss(data['inputs'], data['data_samples'])
    model.parse_losses(losses)[0].backward()
    assert losses['loss_bckd'].isfinite() and losses['loss_bckd'] > 0


@pytest.mark.parametrize('dtype', [torch.bfloat16])
def test_amp_agrees_with_fp32(dtype):
    model = distiller('retinanet').eval()
    data = tiny.prepared(model)
    exact = model.loss(data['inputs'], data['data_samples'])['loss_bckd']
    with torch.autocast('cpu', dtype=dtype):
        half = model.loss(data['inputs'], data['data_samples'])['loss_bckd']
    assert half.dtype == torch.float32
    # 8 bits of the logits of both networks
    assert (half - exact).abs() < 0.1 * exact
