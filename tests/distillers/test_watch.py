"""A watched step: what is seen, and that it trains as an unwatched one."""

import copy
from dataclasses import fields

import pytest
import tiny
import tiny_cls
import tiny_dense
import torch
from mmengine.registry import DefaultScope

from luminet_mm.distillers.watch import Sight, Watch

NAMES = [each.name for each in fields(Sight)]
KD = dict(type='luminet_mm.KDLoss', signal='roi.cls_score')


def watched(model, data, watch=None):
    """The losses of a step, its gradients, and what was seen by key."""
    model.watch = watch or Watch()
    model.watch.due = True
    model.zero_grad()
    torch.manual_seed(1)
    losses = model.loss(data['inputs'], data['data_samples'])
    model.parse_losses(losses)[0].backward()
    grads = {
        name: p.grad.clone()
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    seen = {
        key: dict(zip(NAMES, numbers, strict=True))
        for key, numbers in zip(
            model.watch.keys, model.watch.found[0].tolist(), strict=True
        )
    }
    return losses, grads, seen


def detector(**losses):
    return tiny.build(tiny.distiller(**copy.deepcopy(losses)))


def test_the_share_of_a_fixed_and_of_an_auto_weight():
    """A loss that sets its weight is seen with the weight that it finds."""
    model = detector(
        loss_a=dict(KD, loss_weight='auto'), loss_b=dict(KD, loss_weight=2.0)
    )
    losses, _, seen = watched(model, tiny.prepared(model))
    shares = {
        key: (each['distill'] / each['own']) ** 0.5
        for key, each in seen.items()
    }
    assert shares['loss_a'] == pytest.approx(1, rel=1e-4)
    ratio = 2.0 / losses['weight_a'].item()
    assert shares['loss_b'] == pytest.approx(ratio, rel=1e-4)
    assert seen['loss_b']['value'] == pytest.approx(losses['loss_b'].item())
    assert all(each['in_total'] == 1 for each in seen.values())


def test_a_schedule_is_in_the_share():
    model = detector(loss_kd=KD)
    data = tiny.prepared(model)
    whole = watched(model, data)[2]['loss_kd']['distill']
    model.distill.loss_kd.schedule_factor = 0.5
    part = watched(model, data)[2]['loss_kd']['distill']
    assert part == pytest.approx(whole / 4)


def test_it_measures_as_often_as_the_weight_does(monkeypatch):
    from luminet_mm.distillers import auto

    calls = []
    measure = auto.squared_norms
    monkeypatch.setattr(
        auto,
        'squared_norms',
        lambda pairs, own: (calls.append(len(pairs)), measure(pairs, own))[1],
    )
    model = detector(loss_a=dict(KD, loss_weight='auto'), loss_b=KD)
    data = tiny.prepared(model)
    watched(model, data)
    assert calls == [2]  # both losses in one go, and none of them twice
    model.loss(data['inputs'], data['data_samples'])  # nobody watches
    assert calls == [2, 1]


CASES = dict(
    rois=(tiny, lambda: tiny.distiller(loss_x=dict(KD))),
    auto=(tiny, lambda: tiny.distiller(loss_x=dict(KD, loss_weight='auto'))),
    maps=(
        tiny,
        lambda: tiny.distiller(
            loss_x=dict(type='luminet_mm.PKDLoss', signal='neck')
        ),
    ),
    points=(
        tiny_dense,
        lambda: tiny_dense.distiller(
            *[tiny_dense.detector() for _ in range(2)]
        ),
    ),
    images=(tiny_cls, tiny_cls.distiller),
)


@pytest.mark.parametrize(
    ('case', 'half'),
    [*((case, False) for case in CASES), ('rois', True), ('images', True)],
)
def test_a_step_is_the_same_unwatched(case, half):
    kind, config = CASES[case]
    model, again = (kind.build(config()) for _ in range(2))
    before = copy.deepcopy(model.state_dict())
    data = kind.prepared(model)
    with torch.autocast('cpu', torch.bfloat16, enabled=half):
        losses, grads, seen = watched(model, data)
        random = torch.random.get_rng_state()
        again.load_state_dict(before)
        torch.manual_seed(1)
        stock = again.loss(data['inputs'], data['data_samples'])
        again.parse_losses(stock)[0].backward()
    assert torch.equal(random, torch.random.get_rng_state())
    assert list(losses) == list(stock)
    for name, p in again.named_parameters():
        assert (p.grad is None) == (name not in grads)
        if p.grad is not None:
            assert torch.equal(p.grad, grads[name]), name
    assert seen[model.watch.keys[0]]['distill'] > 0


def test_rows_with_an_object_are_counted():
    model = detector(loss_kd=KD)
    data = tiny.prepared(model)
    kept = []
    model.distill.loss_kd.register_forward_pre_hook(
        lambda _, args: kept.append(args)
    )
    seen = watched(model, data)[2]['loss_kd']
    student, teacher, batch = kept[0]
    where = batch.labels != 4
    labels = batch.labels[where]
    ours, theirs = (x[where].argmax(1) for x in (student, teacher))
    assert seen['rows'] == where.sum() > 0
    assert seen['teacher'] == (theirs == labels).sum()
    assert seen['student'] == (ours == labels).sum()
    assert seen['agree'] == (ours == theirs).sum()
    assert (seen['lowest'], seen['highest']) == (theirs.min(), theirs.max())
    assert (seen['lowest_label'], seen['highest_label']) == (
        labels.min(),
        labels.max(),
    )
    assert seen['varies'] == 1 and seen['same'] == 0
    assert model.watch.foreground == {'loss_kd': True}
    assert model.watch.columns == {'loss_kd': 5}


def test_rows_are_counted_on_which_the_teacher_names_a_class():
    model = detector(loss_kd=KD)
    data = tiny.prepared(model)
    ask = model.ask_teachers

    def told(*args):
        (logits,) = ask(*args)
        logits = logits.clone()
        logits[::2, 4] = 1e3  # the background's column
        logits[1::2, 4] = -1e3
        return [logits]

    model.ask_teachers = told
    kept = []
    model.distill.loss_kd.register_forward_pre_hook(
        lambda _, args: kept.append(args[2].labels)
    )
    seen = watched(model, data)[2]['loss_kd']
    assert seen['named'] == (kept[0][1::2] != 4).sum() > 0
    assert seen['named'] < seen['rows']


def test_points_have_no_background():
    kind, config = CASES['points']
    model = kind.build(config())
    seen = watched(model, kind.prepared(model))[2]
    (one,) = seen.values()
    assert one['named'] != one['named'] and one['boxes'] == 6


@pytest.mark.parametrize('objects', [3, 0])
def test_objects_are_known_whatever_is_compared(objects):
    """Masks and boxes have neither rows nor a batch with boxes."""
    losses = dict(
        loss_x=dict(type='luminet_mm.MaskKDLoss', signal='roi.mask'),
        loss_z=dict(type='luminet_mm.FitNetLoss', signal='roi.feats'),
        loss_y=dict(type='luminet_mm.PKDLoss', signal='neck'),
    )
    mask = tiny.detector('mask')
    model = tiny.build(tiny.distiller(mask, teacher=mask, **losses))
    data = tiny.prepared(model, masks=True)
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:objects]
    seen = watched(model, data)[2]
    assert {each['boxes'] for each in seen.values()} == {2 * objects}
    assert (seen['loss_x']['value'] == 0) == (not objects)


def test_maps_have_no_accuracy():
    model = detector(loss_x=dict(type='luminet_mm.PKDLoss', signal='neck'))
    seen = watched(model, tiny.prepared(model))[2]['loss_x']
    assert seen['rows'] != seen['rows'] and seen['teacher'] != seen['teacher']
    assert seen['boxes'] == 6 and seen['varies'] == 1


def test_a_batch_without_objects():
    model = detector(loss_kd=KD)
    data = tiny.prepared(model)
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    seen = watched(model, data)[2]['loss_kd']
    assert seen['rows'] == seen['teacher'] == 0 and seen['distill'] > 0
    assert seen['lowest'] != seen['lowest']


@pytest.mark.parametrize('constant', [False, True])
def test_one_image_is_compared_with_the_one_before(constant):
    model = detector(loss_x=dict(type='luminet_mm.PKDLoss', signal='neck'))
    watch = Watch()
    if constant:
        ask = model.ask_teachers
        model.ask_teachers = lambda *args: [
            tuple(map(torch.ones_like, maps)) for maps in ask(*args)
        ]
    varied = []
    for seed in (0, 0, 1):
        data = tiny.prepared(model, num_images=1, seed=seed)
        varied.append(watched(model, data, watch)[2]['loss_x']['varies'])
    first, again, other = varied
    assert first != first and again != again  # the same image says nothing
    assert other == (not constant)


def test_a_network_whose_gradients_come_only_once():
    """Compiled parts may refuse; the run goes on, without shares."""
    model = detector(loss_kd=KD)

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            raise RuntimeError('only once')

    model.distill.loss_kd.register_forward_hook(
        lambda module, args, out: Once.apply(out)
    )
    model.watch = Watch()
    model.watch.due = True
    data = tiny.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    seen = dict(zip(NAMES, model.watch.found[0, 0].tolist(), strict=True))
    assert seen['distill'] != seen['distill'] and seen['rows'] > 0


def test_no_gradient_is_taken_where_there_is_none():
    model = detector(loss_kd=KD)
    model.watch = Watch()
    model.watch.due = True
    data = tiny.prepared(model)
    with torch.no_grad():
        model.loss(data['inputs'], data['data_samples'])
    assert model.watch.found is None and model.watch.due


class TestTwoRanks:
    @classmethod
    def on_rank(cls, rank, world_size):
        import luminet_mm  # noqa: F401

        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = tiny_cls.build(tiny_cls.distiller())
        data = tiny_cls.prepared(model, seed=rank)
        model.watch = Watch()
        model.watch.due = True
        model.loss(data['inputs'], data['data_samples'])
        return model.watch.found

    @pytest.mark.two_ranks
    def test_all_see_the_same(self, two_ranks):
        one, other = two_ranks
        assert one.shape == (2, 1, len(NAMES))
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
        assert one[0, 0, 0] != one[1, 0, 0]  # each has its own images
