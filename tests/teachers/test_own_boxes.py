"""OwnBoxes: a teacher that says which boxes are compared."""

import copy
from dataclasses import replace
from functools import partial

import box_caching
import numpy as np
import pytest
import tiny
import torch
from box_caching import (
    BOX,
    CLASSES,
    FLIP,
    HOOKS,
    KD,
    LUMINET,
    PACK,
    PIPELINE,
    batch,
    built,
    data,
    model_config,
    train,
)
from mmengine.config import Config
from mmengine.registry import DefaultScope

from luminet_mm.preflight.caches import cached_problems
from luminet_mm.teachers.box_choice import JITTER
from luminet_mm.teachers.own_boxes import OwnBoxes

ALL = dict(loss_luminet=LUMINET, loss_kd=KD, loss_box=BOX)
COUNT = 16
MOVED = COUNT // 4  # the share of positives of the student's sampler
FIRST = (0, 1)  # seed and step
losses_of = partial(box_caching.losses_of, step=FIRST)
compared = partial(box_caching.compared, step=FIRST)
RESIZED = dict(
    type='RandomChoiceResize', scales=[(96, 72), (64, 48)], keep_ratio=True
)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return box_caching.make_photos(tmp_path_factory.mktemp('own') / 'photos')


@pytest.fixture(scope='module')
def block(photos):
    """A teacher that is wider than the student."""
    return live(photos, width=12)


@pytest.fixture(scope='module')
def twin(photos):
    """A teacher that is as wide as the student."""
    return live(photos, width=8)


def live(photos, width):
    with DefaultScope.overwrite_default_scope('mmdet'):
        found = box_caching.teacher_block(photos.parent, width)
    del found['cache']
    return dict(found, boxes_per_step=COUNT)


def boxes_of(model, raw, step=FIRST):
    """The boxes of each image, ``(B, N, 4)``."""
    _, _, about = next(iter(compared(model, raw, step=step).values()))
    return about.rois[:, 1:].unflatten(0, (len(raw['inputs']), -1))


def test_row_i_is_about_one_box_in_both_models(photos, twin):
    """A student with the teacher's weights says what the teacher says."""
    model = tiny.build(model_config(twin, **ALL))
    model.load_state_dict(torch.load(twin['checkpoint']), strict=False)
    for order in ([0, 3], [4, 1, 2]):
        raw = batch(built(data(photos))[0], order)
        for key, (student, teacher, about) in compared(model, raw).items():
            pairs = [(student, teacher)]
            if key == 'loss_box':
                pairs = list(zip(student, teacher, strict=True))
            for ours, theirs in pairs:
                assert len(ours) == len(order) * COUNT and theirs.std() > 0.2
                gap = (ours - theirs).norm() / theirs.norm()
                assert gap < 1e-4  # of another row: above 0.1
                assert (ours.roll(1, 0) - theirs).norm() / theirs.norm() > 0.1
            assert about.rois[:, 0].unique().tolist() == [*range(len(order))]
            assert about.background == about.no_object == CLASSES


def test_they_are_moved_objects_and_the_teachers_proposals(photos, block):
    model = tiny.build(model_config(block, loss_kd=KD))
    raw = batch(built(data(photos))[0], [1, 2])
    boxes = boxes_of(model, raw)
    network = model.teacher.model
    done = model.data_preprocessor(copy.deepcopy(raw), True)
    samples = done['data_samples']
    with torch.no_grad():
        maps = network.extract_feat(done['inputs'])
        found = network.rpn_head.predict(maps, samples, rescale=False)
    for own, each, sample in zip(boxes, found, samples, strict=True):
        objects = sample.gt_instances.bboxes
        sides = (objects[:, 2:] - objects[:, :2]).repeat(1, 2)
        moved = (own[:MOVED, None] - objects).abs() / sides
        assert (moved.amax(dim=2).amin(dim=1) <= JITTER + 1e-3).all()
        height, width = sample.img_shape
        assert (own >= 0).all() and (own[:, 2] <= width).all()
        assert (own[:, 3] <= height).all()
        gaps = torch.cdist(own[MOVED:], each.bboxes).amin(dim=1)
        # a proposal may be widened to a pixel
        assert (gaps < 1).all() and (gaps < 1e-3).float().mean() > 0.8


def test_a_draw_depends_on_seed_step_and_image_alone(photos, block):
    model = tiny.build(model_config(block, loss_kd=KD))
    steps = [*PIPELINE[:3], dict(FLIP, prob=1.0), PACK]
    dataset = built(data(photos, steps))[0]
    first = boxes_of(model, batch(dataset, [3, 0]))
    for order, place in (([0, 3], 1), ([1, 2, 3], 2), ([3], 0)):
        again = boxes_of(model, batch(dataset, order))[place]
        torch.testing.assert_close(again, first[0], rtol=0, atol=0.05)
    for other in ((0, 2), (1, 1)):
        there = boxes_of(model, batch(dataset, [3, 0]), other)
        assert (there - first).abs().mean() > 1


def test_boxes_follow_the_view(photos, block):
    """Any augmentation: the boxes are of the image as the student sees it."""
    config = data(photos, [*PIPELINE[:2], RESIZED, FLIP, PACK])
    model = tiny.build(model_config(block, loss_kd=KD))
    dataset, labels = built(config)[0], set()
    for seed in range(4):
        np.random.seed(seed)
        raw = batch(dataset, [1, 1])
        _, _, about = compared(model, raw)['loss_kd']
        own = about.labels.unflatten(0, (2, COUNT))[:, :MOVED]
        classes = raw['data_samples'][0].gt_instances.labels.tolist()
        assert {*own.flatten().tolist()} <= {*classes, CLASSES}
        labels |= {*own.flatten().tolist()}
    assert labels - {CLASSES}


def test_one_pass_of_each_part_and_two_of_the_students_box_head(photos, block):
    model = tiny.build(model_config(block, **ALL))
    raw = batch(built(data(photos))[0], [0, 1])
    losses_of(model, raw)  # the first step prepares the teacher, too
    calls = []
    parts = ('backbone', 'neck', 'rpn_head', 'roi_head.bbox_head')
    for whose, network in (('s', model), ('t', model.teacher.model)):
        for name in parts:
            network.get_submodule(name).register_forward_hook(
                lambda *_, name=f'{whose} {name}': calls.append(name)
            )
    losses_of(model, raw)
    counts = {name: calls.count(name) for name in calls}
    assert counts.pop('s roi_head.bbox_head') == 2
    assert len(counts) == 7 and {*counts.values()} == {1}


def test_gradients_reach_the_backbone_from_every_kind_of_loss(photos, block):
    feats = dict(type='luminet_mm.FitNetLoss', signal='roi.feats')
    maps = dict(type='luminet_mm.PKDLoss', signal='neck')
    every = dict(**ALL, loss_feats=feats, loss_maps=maps)
    model = tiny.build(model_config(block, **every))
    losses = losses_of(model, batch(built(data(photos))[0], [0, 1]))
    for key in every:
        (grad,) = torch.autograd.grad(
            losses[key], [model.backbone.conv1.weight], retain_graph=True
        )
        assert losses[key] > 0 and grad.abs().max() > 0, key


def test_maps_are_of_the_images_and_vectors_of_the_boxes(photos, twin):
    feats = dict(type='luminet_mm.FitNetLoss', signal='roi.feats')
    maps = dict(type='luminet_mm.PKDLoss', signal='neck')
    model = tiny.build(
        model_config(twin, loss_kd=KD, loss_feats=feats, loss_maps=maps)
    )
    model.load_state_dict(torch.load(twin['checkpoint']), strict=False)
    found = compared(model, batch(built(data(photos))[0], [0, 1]))
    ours, theirs, _ = found['loss_feats']
    ours, theirs = (x if torch.is_tensor(x) else x[0] for x in (ours, theirs))
    assert len(ours) == len(found['loss_kd'][0]) == 2 * COUNT
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
    student, teacher, _ = found['loss_maps']
    for one, other in zip(student, teacher, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


RPN = dict(
    type='luminet_mm.BCKDLoss',
    signal=['rpn.objectness', 'rpn.deltas'],
    loss_weight='auto',
)


def test_a_weight_of_another_signal_is_what_it_is_without(photos, block):
    """Its gradient is that of the student's own pass."""
    raw, losses = batch(built(data(photos))[0], [0, 1]), []
    for count in (COUNT, None):
        own = dict(block, boxes_per_step=count)
        auto = dict(KD, loss_weight='auto')
        model = tiny.build(model_config(own, loss_kd=auto, loss_rpn=RPN))
        losses.append(losses_of(model, raw))
    for key in ('loss_rpn', 'weight_rpn', 'loss_cls', 'loss_rpn_bbox'):
        one, other = (
            sum(x) if isinstance(x := each[key], list) else torch.as_tensor(x)
            for each in losses
        )
        torch.testing.assert_close(one, other)
    # those of KD are at other rows
    one, other = (torch.as_tensor(each['weight_kd']) for each in losses)
    assert one > 0 and abs(one / other - 1) > 1e-3 and one != 1


def test_a_monitored_run_goes_on(photos, block, tmp_path):
    hooks = [
        *HOOKS,
        dict(type='luminet_mm.DistillMonitorHook', interval=1),
    ]
    model = model_config(block, **ALL, loss_rpn=RPN)
    run = train(photos, tmp_path, model, hooks=hooks)
    scalars = run.message_hub.log_scalars
    for name in ('luminet', 'kd', 'box', 'rpn'):
        shares = scalars[f'train/share_{name}'].data[0]
        assert np.isfinite(shares).all() and (shares > 0).all(), name


def test_boxes_that_no_loss_compares_are_not_scored(photos, block):
    """As where a schedule has switched the losses on them off."""
    maps = dict(type='luminet_mm.PKDLoss', signal='neck')
    model = tiny.build(model_config(block, loss_kd=KD, loss_maps=maps))
    raw = batch(built(data(photos))[0], [0, 1])
    losses_of(model, raw)
    calls = []
    for name, part in (
        ('s', model.roi_head.bbox_head),
        ('t', model.teacher.model.rpn_head),
    ):
        part.register_forward_hook(lambda *_, name=name: calls.append(name))
    model.distill['loss_kd'].schedule_factor = 0
    losses = losses_of(model, raw)
    assert calls == ['s'] and losses['loss_maps'] > 0 == losses['loss_kd']


@pytest.mark.parametrize('objects', [0, 1])
def test_images_with_few_objects(photos, block, objects):
    model = tiny.build(model_config(block, **ALL))
    raw = batch(built(data(photos))[0], [0, 1])
    sample = raw['data_samples'][1]
    sample.gt_instances = sample.gt_instances[:objects]
    _, _, about = compared(model, raw)['loss_kd']
    labels = about.labels.unflatten(0, (2, COUNT))[1]
    assert (labels < CLASSES).any() == bool(objects)
    losses = losses_of(model, raw)
    assert all(torch.isfinite(losses[key]) for key in ALL)


def test_a_teacher_that_pads_further(photos, block):
    """Its proposals are inside of the student's area."""
    further = copy.deepcopy(block)
    further['config']['model']['data_preprocessor']['pad_size_divisor'] = 256
    model = tiny.build(model_config(further, **ALL))
    raw = batch(built(data(photos))[0], [0, 3])
    boxes = boxes_of(model, raw)
    done = model.data_preprocessor(copy.deepcopy(raw), True)
    for own, sample in zip(boxes, done['data_samples'], strict=True):
        height, width = sample.img_shape
        assert (own >= 0).all() and (own[:, 3] <= height).all()
        assert (own[:, 2] <= width).all()
    losses = losses_of(model, raw)
    assert all(torch.isfinite(losses[key]) for key in ALL)


def test_weight_0_is_stock_training_and_keys_are_stock(
    photos, block, tmp_path
):
    """The student's own losses, and random numbers, are not touched."""
    silent = {key: dict(loss, loss_weight=0.0) for key, loss in ALL.items()}
    ours = train(photos, tmp_path / 'a', model_config(block, **silent))
    stock = train(photos, tmp_path / 'b', tiny.detector(), hooks=[])
    ours, stock = ours.model.state_dict(), stock.model.state_dict()
    assert list(ours) == list(stock)
    assert all(torch.equal(ours[key], stock[key]) for key in stock)


def test_a_resumed_run_ends_bit_for_bit_as_one_that_was_not_stopped(
    photos, block, tmp_path, monkeypatch
):
    told = []
    at_step = OwnBoxes.at_step
    monkeypatch.setattr(
        OwnBoxes,
        'at_step',
        lambda self, *now: told.append(now) or at_step(self, *now),
    )
    model = model_config(block, **ALL)
    # MMEngine saves no random state, so nothing else may be drawn
    model.train_cfg.rpn.sampler.num = 10**6
    model.train_cfg.rcnn.sampler.num = 10**6
    model.train_cfg.rcnn.sampler.pos_fraction = 0.5
    steps = [*PIPELINE[:3], dict(FLIP, prob=1.0), PACK]
    whole = train(photos, tmp_path / 'a', model, steps)
    assert told == [(7, step) for step in range(6)]
    train(photos, tmp_path / 'b', model, steps, max_epochs=1)
    resumed = train(
        photos,
        tmp_path / 'b',
        model,
        steps,
        resume=True,
        experiment_name='resumed',
    )
    expected, found = whole.model.state_dict(), resumed.model.state_dict()
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_boxes_are_decoded_in_float32(photos, block):
    """Also of maps in bf16, whose coordinates would move by pixels."""
    raw = batch(built(data(photos))[0], [0, 1])
    model = tiny.build(model_config(block, loss_kd=KD))
    exact = boxes_of(model, raw)
    with torch.autocast('cpu', torch.bfloat16):
        found = boxes_of(model, raw)
    assert found.dtype == exact.dtype == torch.float32
    assert found[:, :MOVED].equal(exact[:, :MOVED])
    # rounded to 8 bits, corners from 32 on would be multiples of a quarter
    parts = found[:, MOVED:][found[:, MOVED:] > 32] * 4 % 1
    assert ((parts > 0.01) & (parts < 0.99)).float().mean() > 0.3


def test_classes_are_mapped(photos, block):
    classes = {name: [name] for name in tiny.CLASSES}
    mapped = dict(block, classes=classes)
    mapped['config'] = dict(
        model=block['config']['model'],
        train_dataloader=dict(dataset=data(photos)),
    )
    model = tiny.build(model_config(mapped, loss_kd=KD))
    raw = batch(built(data(photos))[0], [0, 1])
    _, teacher, _ = compared(model, raw)['loss_kd']
    plain = tiny.build(model_config(block, loss_kd=KD))
    _, expected, _ = compared(plain, raw)['loss_kd']
    torch.testing.assert_close(
        teacher.softmax(dim=1), expected.softmax(dim=1), rtol=1e-4, atol=1e-5
    )


def test_copies_share_the_network(block):
    model = tiny.build(model_config(block))
    model.teachers.at_step(3, 4)
    other = copy.deepcopy(model)
    assert other.teacher.model is model.teacher.model
    assert (other.teacher.boxes, other.teacher.now) == (COUNT, (3, 4))


def test_a_step_that_nobody_counts_and_an_image_without_a_name(photos, block):
    model = tiny.build(model_config(block, loss_kd=KD))
    raw = batch(built(data(photos))[0], [0])
    with pytest.raises(ValueError, match=r'a loop of your own calls model\.t'):
        losses_of(model, raw, step=None)
    del raw['data_samples'][0].img_id
    with pytest.raises(ValueError, match="Put img_id into PackDetInputs' m"):
        losses_of(model, raw)


def test_models_whose_boxes_cannot_be_compared(block):
    cascade = model_config(block)
    cascade.update(tiny.detector('cascade'))
    cascade.type = 'luminet_mm.TwoStageDistiller'
    with pytest.raises(ValueError, match='student .* a single box head'):
        tiny.build(cascade)
    other = dict(
        block, checkpoint=None, config=dict(model=tiny.detector('cascade'))
    )
    with pytest.raises(ValueError, match='teacher .* a single box head'):
        tiny.build(model_config(other))
    own = copy.deepcopy(block['config']['model'])
    own['rpn_head'] = dict(
        type='RetinaHead',
        num_classes=1,
        in_channels=own['neck']['out_channels'],
        stacked_convs=1,
    )
    other = dict(block, checkpoint=None, config=dict(model=own))
    with pytest.raises(ValueError, match='does not have an RPNHead'):
        tiny.build(model_config(other))
    two = [block, {k: v for k, v in block.items() if k != 'boxes_per_step'}]
    with pytest.raises(ValueError, match='lists 2 teachers, and one chooses'):
        tiny.build(model_config(two))


def test_signals_of_the_students_own_rois(block):
    inner = 'roi_head.bbox_head.shared_fcs.0'
    loss = dict(type='luminet_mm.FitNetLoss', signal=inner)
    message = "loss_x: '{}' is of the RoIs that the student samples"
    with pytest.raises(ValueError, match=message.format(inner)):
        tiny.build(model_config(block, loss_x=loss))
    model = tiny.distiller(tiny.detector('mask'), tiny.detector('mask'))
    model.teacher.boxes_per_step = COUNT
    model.distill = dict(loss_kd=KD)
    tiny.build(model)  # beside masks that are not compared
    masks = dict(type='luminet_mm.MaskKDLoss', signal='roi.mask')
    model.distill = dict(loss_kd=KD, loss_x=masks)
    with pytest.raises(ValueError, match=message.format('roi.mask')):
        tiny.build(model)


def test_losses_that_compare_no_boxes(block):
    maps = dict(type='luminet_mm.PKDLoss', signal='neck')
    with pytest.raises(ValueError, match='per_step: none of the losses comp'):
        tiny.build(model_config(block, loss_x=maps))


@pytest.mark.parametrize('count', [0, 2.0, True, '4'])
def test_numbers_of_boxes(block, count):
    with pytest.raises(ValueError, match=r'boxes_per_step: .* whole number'):
        tiny.build(model_config(dict(block, boxes_per_step=count)))


def test_none_leaves_the_rois_to_the_student(block):
    model = tiny.build(model_config(dict(block, boxes_per_step=None)))
    assert not isinstance(model.teacher, OwnBoxes)


@pytest.mark.parametrize(
    ('hooks', 'pack', 'message'),
    [
        (HOOKS, PACK, ''),
        (HOOKS, dict(PACK, meta_keys=('img_id', 'img_shape')), ''),
        (HOOKS, dict(PACK, meta_keys=('img_shape',)), "put 'img_id' into th"),
        ([], PACK, 'add dict(type='),
    ],
)
def test_what_has_to_be_known_of_a_step(photos, block, hooks, pack, message):
    pipeline = [*PIPELINE[:-1], pack]
    cfg = Config(
        dict(
            default_scope='mmdet',
            model=model_config(block),
            train_dataloader=dict(dataset=data(photos, pipeline)),
            custom_hooks=copy.deepcopy(hooks),
        )
    )
    lines = cached_problems(cfg)
    assert len(lines) == bool(message)
    assert all(f'boxes_per_step: {message}' in line for line in lines)


def test_a_record_is_replaced_and_not_changed(photos, block):
    """The student's own rows stay known to those who ask for them."""
    model = tiny.build(model_config(block, loss_kd=KD))
    seen = []
    rows = model.teacher.rows
    model.teacher.rows = lambda ahead, record: (
        seen.append((record, rows(ahead, record))) or seen[-1][1]
    )
    losses_of(model, batch(built(data(photos))[0], [0, 1]))
    (own, record) = seen[0]
    assert record.own is own and own.stages[0] is not record.rows
    known = replace(own, stages={0: record.rows})
    assert known.values is own.values
