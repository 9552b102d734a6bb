"""DETRDistiller: the stock student, with a teacher at its side."""

import copy

import pytest
import tiny
import tiny_dense
import tiny_detr
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DefaultScope

from luminet_mm.distillers import DETRDistiller
from luminet_mm.preflight.models import block_problems
from luminet_mm.registry import MODELS
from luminet_mm.stock import stock_config
from luminet_mm.student import student_of

KINDS = tiny_detr.KINDS
BOTH = dict(loss_match=tiny_detr.matched(), loss_shared=tiny_detr.shared())


def distiller(kind='deformable', teacher=None, dropout=0.0, **options):
    """A distiller of a kind, with every loss that it takes."""
    model = tiny_detr.distiller(
        tiny_detr.detector(kind, dropout=dropout),
        tiny_detr.detector(teacher or kind),
        **tiny_detr.losses(kind, **options),
    )
    model.teacher.fold_bn = False
    return model


def step(model, seed=0):
    data = tiny_detr.prepared(model, seed=seed)
    torch.manual_seed(seed)
    losses = model.loss(data['inputs'], data['data_samples'])
    model.parse_losses(losses)[0].backward()
    return losses


def gradients(model, seed=0):
    """Of the distillation losses alone."""
    model.zero_grad()
    data = tiny_detr.prepared(model, seed=seed)
    losses = model.loss(data['inputs'], data['data_samples'])
    sum(losses[key] for key in model.distill).backward()
    return {
        name: p.grad.clone()
        for name, p in model.named_parameters()
        if p.grad is not None
    }


@pytest.mark.parametrize('kind', KINDS)
def test_keys_are_the_stock_students_and_every_part_learns(kind):
    model = tiny_detr.build(distiller(kind))
    stock = tiny_detr.build(tiny_detr.detector(kind))
    keys = [k for k in model.state_dict() if not k.startswith('distill.')]
    assert keys == list(stock.state_dict())
    assert isinstance(model, type(stock)) and isinstance(model, DETRDistiller)
    extra = (
        {'distill.loss_shared.draws'} if kind in tiny_detr.POINTS else set()
    )
    assert set(model.state_dict()) - set(keys) == extra
    found = gradients(model)
    parts = ['backbone', 'neck']
    if kind != 'detr':
        parts += ['encoder', 'decoder', 'bbox_head']
    for part in parts:
        assert any(
            grad.abs().sum() > 0
            for name, grad in found.items()
            if name.startswith(part)
        ), part


@pytest.mark.parametrize('kind', KINDS)
def test_zero_weight_trains_like_stock(kind):
    """With dropout: what the extra passes draw must not be missing later."""
    models = [
        tiny_detr.build(distiller(kind, dropout=0.1, loss_weight=0.0)),
        tiny_detr.build(tiny_detr.detector(kind, dropout=0.1)),
    ]
    states, drawn = [], []
    for each in models:
        optimizer = torch.optim.SGD(each.parameters(), lr=0.01)
        torch.manual_seed(3)
        for seed in range(2):
            optimizer.zero_grad()
            data = tiny_detr.prepared(each, seed=seed)
            losses = each.loss(data['inputs'], data['data_samples'])
            each.parse_losses(losses)[0].backward()
            optimizer.step()
        states.append(each.state_dict())
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
    for key, value in states[1].items():
        assert torch.equal(states[0][key], value), key


@pytest.mark.parametrize('kind', tiny_detr.POINTS)
def test_a_teacher_with_the_students_weights_teaches_nothing(kind):
    """With one layer, which is the last; of boxes alone where queries are
    matched, since of a cross entropy the entropy is left."""
    model = distiller(kind)
    model.distill.loss_match.cls_weight = 0.0
    for each in (model, model.teacher.config.model):
        each.decoder.num_layers = 1
    model = tiny_detr.build(model)
    awake(model.teacher.model)
    data = tiny_detr.prepared(model)
    pair = data['inputs'], data['data_samples']
    with torch.no_grad():
        before = model.loss(*pair)
        awake(model)
        model.teacher.model.load_state_dict(stock_state(model))
        after = model.loss(*pair)
    # the eps of GIoU, of boxes as parts of the image
    assert after['loss_shared'] < 1e-3 * before['loss_shared']
    # the teacher's boxes are cut to the image
    assert after['loss_match'] < 0.1 * before['loss_match']


def awake(model):
    """Let the last layers of the heads, which start at 0, say something."""
    generator = torch.Generator().manual_seed(5)
    for name, weight in model.named_parameters():
        if name.startswith('bbox_head') and weight.dim() == 2:
            noise = torch.randn(weight.shape, generator=generator)
            weight.data += noise / weight.shape[1] ** 0.5


def stock_state(model):
    state = model.state_dict()
    return {k: v for k, v in state.items() if not k.startswith('distill.')}


def test_predictions_of_a_twin_are_matched_with_themselves():
    """DINO: denoising is kept apart, query i is query i of its twin."""
    model = tiny_detr.build(distiller('dino'))
    model.teacher.model.load_state_dict(stock_state(model))
    seen = {}
    for key, loss in model.distill.items():
        forward = loss.forward
        loss.forward = lambda s, t, b, key=key, forward=forward: (
            seen.update({key: (s, t)}) or forward(s, t, b)
        )
    data = tiny_detr.prepared(model)
    with torch.no_grad():
        model.loss(data['inputs'], data['data_samples'])
    for ours, theirs in zip(*seen['loss_match'], strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.shape == other.shape
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    ours, theirs = seen['loss_shared']
    torch.testing.assert_close(ours.points, theirs.points)
    points = torch.rand(2, 5, 4)
    with torch.no_grad():
        for one, other in zip(ours.ask(points), theirs.ask(points)):
            for layer, same in zip(one, other, strict=True):
                torch.testing.assert_close(layer, same, rtol=1e-3, atol=1e-4)


def test_the_student_runs_once_and_its_decoder_once_more_for_each_set():
    model = tiny_detr.build(distiller('dino'))
    model.fit_teacher(0)
    ran = []
    for side, each in (('student', model), ('teacher', model.teacher.model)):
        for part in ('backbone', 'encoder', 'decoder', 'bbox_head'):
            getattr(each, part).register_forward_hook(
                lambda *_, name=f'{side} {part}': ran.append(name)
            )
    step(model)
    assert ran.count('student backbone') == 1
    assert ran.count('student encoder') == 1
    for side in ('student', 'teacher'):
        assert ran.count(f'{side} decoder') == 3  # its own, and two sets
        assert ran.count(f'{side} bbox_head') == 3
    ran.clear()
    for loss in model.distill.values():
        loss.schedule_factor = 0.0
    losses = step(model)
    assert not [name for name in ran if name.startswith('teacher')]
    assert losses['loss_match'] == losses['loss_shared'] == 0


def test_dino_teaches_deformable_detr():
    """The pair of the first config: other queries, points without sizes."""
    model = tiny_detr.distiller(
        tiny_detr.detector('deformable', queries=12),
        tiny_detr.detector('dino'),
        **copy.deepcopy(BOTH),
    )
    model = tiny_detr.build(model)
    losses = step(model)
    assert losses['loss_match'] > 0 and losses['loss_shared'] > 0


def test_another_number_of_layers_and_queries():
    teacher = tiny_detr.detector('dino', queries=30)
    teacher.decoder.num_layers = 3
    model = tiny_detr.build(
        tiny_detr.distiller(
            tiny_detr.detector('dino'), teacher, **copy.deepcopy(BOTH)
        )
    )
    assert all(step(model)[key] > 0 for key in BOTH)


def test_a_teacher_that_pads_further():
    """Its logits have no places that could be cut off."""
    model = distiller('dino')
    preprocessor = model.teacher.config.model.data_preprocessor
    preprocessor.pad_size_divisor = 128
    model = tiny_detr.build(model)
    losses = step(model)
    assert all(losses[key].isfinite() for key in BOTH)


def test_features_of_the_encoder_are_compared_as_of_any_detector():
    """Those of the neck are, method by method, in tests/methods."""
    losses = {
        f'loss_{name.lower()}': dict(
            type=f'luminet_mm.{name}Loss', signal='encoder'
        )
        for name in ('PKD', 'CWD', 'MGD', 'FGD')
    }
    model = tiny_detr.build(
        tiny_detr.distiller(
            tiny_detr.detector('dino'), tiny_detr.detector('dino'), **losses
        )
    )
    found = step(model)
    assert all(found[key] > 0 for key in losses)


def test_pkd_on_stages_of_the_backbone():
    model = tiny_detr.build(
        tiny_detr.distiller(
            loss_x=dict(type='luminet_mm.PKDLoss', signal='backbone')
        )
    )
    assert step(model)['loss_x'] > 0


def test_images_without_objects():
    model = tiny_detr.build(distiller('dino'))
    data = tiny_detr.prepared(model)
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    losses = model.loss(data['inputs'], data['data_samples'])
    model.parse_losses(losses)[0].backward()
    assert all(losses[key].isfinite() and losses[key] > 0 for key in BOTH)


def test_amp_agrees_with_fp32():
    model = tiny_detr.build(distiller('deformable'))
    model.distill.loss_shared.random_points = 0
    data = tiny_detr.prepared(model)
    exact = model.loss(data['inputs'], data['data_samples'])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = model.loss(data['inputs'], data['data_samples'])
    for key in BOTH:
        assert half[key].dtype == torch.float32
        # 8 bits of the logits of both networks
        assert (half[key] - exact[key]).abs() < 0.1 * exact[key]


def test_gradient_accumulation_adds_up():
    model = tiny_detr.build(distiller('deformable'))
    model.distill.loss_shared.random_points = 0
    singles = [gradients(model, seed) for seed in range(2)]
    model.zero_grad()
    for seed in range(2):
        data = tiny_detr.prepared(model, seed=seed)
        losses = model.loss(data['inputs'], data['data_samples'])
        sum(losses[key] for key in BOTH).backward()
    for name, grad in gradients_of(model).items():
        torch.testing.assert_close(
            grad, singles[0][name] + singles[1][name], msg=name
        )


def gradients_of(model):
    return {
        n: p.grad for n, p in model.named_parameters() if p.grad is not None
    }


def test_resume_equals_an_uninterrupted_run(tmp_path):
    """The random points go on where they stopped; EMA has no teacher."""

    def train(name, max_epochs, **kwargs):
        runner = tiny.runner(
            distiller('deformable'),
            tmp_path / name,
            max_epochs=max_epochs,
            custom_hooks=[dict(type='EMAHook')],
            optim_wrapper=dict(
                optimizer=dict(type='SGD', lr=1e-3),
                accumulative_counts=2,
                clip_grad=dict(max_norm=0.1),
            ),
            **kwargs,
        )
        runner.train()
        return runner

    whole = train('whole', 2)
    train('part', 1)
    resumed = train('part', 2, resume=True)
    assert resumed.iter == whole.iter == 8
    ours, theirs = (r.model.state_dict() for r in (resumed, whole))
    for key, value in theirs.items():
        assert torch.equal(ours[key], value), key
    assert ours['distill.loss_shared.draws'][1] == 8
    saved = torch.load(tmp_path / 'whole/epoch_2.pth', weights_only=False)
    assert not [k for k in saved['ema_state_dict'] if 'teacher' in k]


def on_rank(rank, world_size):
    """Gradients of a rank's images; in float64, where order is 1e-13."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = tiny_detr.build(distiller('deformable')).double()
        data = tiny_detr.prepared(model, num_images=3)
        images = data['inputs'].double()
        samples = data['data_samples']
        for sample in samples:
            instances = sample.gt_instances
            instances.bboxes = instances.bboxes.double()
        if world_size > 1:
            part = [slice(0, 1), slice(1, None)][rank]
            images, samples = images[part], samples[part]
        losses = model.loss(images, samples)
        sum(losses[key] for key in BOTH).backward()
    found = gradients_of(model)
    return {key: losses[key].detach() for key in BOTH}, found


@pytest.mark.two_ranks(run=on_rank)
def test_two_ranks_equal_one(two_ranks):
    values, grads = on_rank(0, 1)
    for key, value in values.items():
        mean = sum(each[key] for each, _ in two_ranks) / 2
        torch.testing.assert_close(mean, value, rtol=1e-9, atol=1e-12)
    for name, grad in grads.items():
        mean = sum(each[name] for _, each in two_ranks) / 2
        torch.testing.assert_close(mean, grad, rtol=1e-6, atol=1e-9, msg=name)


# -- what is refused ---------------------------------------------------------


def refused(student, teacher, match, **losses):
    model = tiny_detr.distiller(tiny_detr.detector(student), teacher, **losses)
    with pytest.raises(ValueError, match=match):
        tiny_detr.build(model)


def test_a_softmax_against_sigmoids_is_refused_with_both_sides():
    refused(
        'deformable',
        tiny_detr.detector('detr'),
        'DeformableDETRHead with 4 columns and a sigmoid, .*teacher a '
        'DETRHead with 5 columns and a softmax',
    )


def test_a_softmax_of_both_is_refused():
    refused('detr', tiny_detr.detector('detr'), "softmax.*compare 'neck' or")


def test_other_classes_are_refused():
    teacher = tiny_detr.detector('deformable', num_classes=3)
    refused('deformable', teacher, '4 classes and the teacher has 3')


@pytest.mark.parametrize('loss', ['KDLoss', 'BCKDLoss', 'PKDLoss'])
def test_a_loss_that_compares_row_by_row_is_refused(loss):
    refused(
        'dino',
        tiny_detr.detector('dino'),
        f'distill.loss_x: query i .*{loss} compares row by row. Take DETRDi',
        loss_x=dict(type=f'luminet_mm.{loss}', signal='cls_score'),
    )


def test_a_loss_on_queries_is_refused_elsewhere():
    with pytest.raises(ValueError, match='DETRDistillLoss compares the quer'):
        tiny_dense.build(tiny_dense.distiller(loss_x=tiny_detr.matched()))


def test_a_teacher_of_another_kind_teaches_by_maps_alone():
    refused('dino', tiny_dense.detector(), 'two kinds, of which maps alone')
    model = tiny_detr.build(
        tiny_detr.distiller(
            tiny_detr.detector('dino'),
            tiny_dense.detector(),
            loss_pkd=dict(type='luminet_mm.PKDLoss', signal='neck'),
        )
    )
    assert step(model)['loss_pkd'] > 0
    model = tiny_dense.build(
        tiny_dense.distiller(
            teacher=tiny_detr.detector('dino'),
            loss_pkd=dict(type='luminet_mm.PKDLoss', signal='neck'),
        )
    )
    assert step(model)['loss_pkd'] > 0


def test_points_without_sizes_are_refused():
    refused(
        'dino',
        tiny_detr.detector('deformable'),
        r'of the student \(DINO.*have 4 coordinates.*\(DeformableDETR\) 2',
        loss_x=tiny_detr.shared(),
    )


def test_means_over_teachers_are_refused():
    model = tiny_detr.distiller(
        loss_x=dict(type='luminet_mm.DETRDistillLoss', signal='cls_score')
    )
    model.teacher = [copy.deepcopy(model.teacher) for _ in range(2)]
    with pytest.raises(ValueError, match='Name one teacher, as in teachers='):
        tiny_detr.build(model)


def test_classes_of_the_teacher_are_mapped():
    model = tiny_detr.distiller(
        tiny_detr.detector('dino', num_classes=2), tiny_detr.detector('dino')
    )
    data = dict(dataset=dict(metainfo=dict(classes=tiny.CLASSES)))
    model.teacher.config['train_dataloader'] = data
    model.teacher.classes = dict(pet=['cat', 'dog'], farm=['hen', 'cow'])
    built = tiny_detr.build(copy.deepcopy(model))
    seen = []
    loss = built.distill.loss_match
    forward = loss.forward
    loss.forward = lambda s, t, b: seen.append((s, t)) or forward(s, t, b)
    data = tiny_detr.prepared(built)
    for sample in data['data_samples']:
        sample.gt_instances.labels %= 2
    losses = built.loss(data['inputs'], data['data_samples'])
    ((ours, theirs),) = seen
    assert losses['loss_match'] > 0
    assert ours[0][0].shape == theirs[0][0].shape == (2, 20, 2)
    model.distill = dict(loss_shared=tiny_detr.shared())
    with pytest.raises(ValueError, match="'queries' asks its decoder itself"):
        tiny_detr.build(model)


@pytest.mark.parametrize('head', ['GroundingDINOHead', 'DDQDETRHead', 'X'])
def test_other_detrs_are_refused_by_their_head(head):
    model = tiny_detr.distiller()
    model.bbox_head.type = head
    with pytest.raises(ValueError, match=f"'{head}' is not the head of a det"):
        tiny_detr.build(model)


# -- the student's class -----------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_the_stock_config_names_the_student(kind):
    cfg = Config(dict(model=distiller(kind), default_scope='mmdet'))
    stock = tiny_detr.detector(kind)
    assert stock_config(cfg).model.type == f'mmdet.{stock.type}'
    assert set(stock_config(cfg).model) == set(stock)


def test_the_config_check_knows_the_students_options():
    model = distiller('dino')
    assert block_problems(model, 'model', 'mmdet') == []
    model.dn_cfgs = model.pop('dn_cfg')
    (line,) = block_problems(model, 'model', 'mmdet')
    assert line.startswith('model.dn_cfgs') and 'dn_cfg' in line


def test_a_head_of_ones_own_belongs_to_the_stock_detector_it_extends():
    from mmdet.models.dense_heads import DINOHead

    class MyHead(DINOHead):
        """A DINO's head with nothing changed."""

    assert (
        DETRDistiller.built_of(dict(bbox_head=dict(type=MyHead))).__name__
        == 'DINODistiller'
    )
    assert MODELS.get('DETRDistiller') is DETRDistiller


def test_a_zoo_config_becomes_a_distiller_by_its_type_alone():
    model = get_config('mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py').model
    assert DETRDistiller.built_of(model).__name__ == 'DINODistiller'


def test_a_student_of_ones_own_class():
    # the ranks load this file before the package
    from mmdet.models.detectors import DINO

    class MyDINO(DINO):
        """A DINO with a prediction of its own."""

        def predict(self, *args, **kwargs):
            return 'mine'

    class Mine(DETRDistiller, MyDINO):
        """Its distiller, as docs/own-data.md has it."""

    model = distiller('dino')
    model.type = Mine
    model = tiny_detr.build(model)
    assert type(model) is Mine and student_of(Mine) is MyDINO
    assert model.predict(None, None) == 'mine'
    assert step(model)['loss_match'] > 0
