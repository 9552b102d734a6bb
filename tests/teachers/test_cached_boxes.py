"""CachedBoxes: rows that are read, and what the student says of them."""

import copy
import warnings

import box_caching
import numpy as np
import pytest
import tiny
import torch
from box_caching import (
    BOX,
    BOXES,
    CLASSES,
    FLIP,
    HOOKS,
    KD,
    LOAD,
    LUMINET,
    PACK,
    PIPELINE,
    RESIZE,
    batch,
    built,
    compared,
    data,
    losses_of,
    model_config,
    ready,
    train,
)
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import DefaultScope

from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cached_boxes import CachedBoxes
from luminet_mm.teachers.frozen import FrozenTeacher

ALL = dict(loss_luminet=LUMINET, loss_kd=KD, loss_box=BOX)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return box_caching.make_photos(tmp_path_factory.mktemp('box') / 'photos')


@pytest.fixture(scope='module')
def block(photos):
    """A teacher whose answers are cached."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        found = box_caching.teacher_block(photos.parent)
        box_caching.write(found, data(photos))
    return found


@pytest.fixture(scope='module')
def own(photos):
    """A teacher with a student's width, cached."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        found = box_caching.teacher_block(photos.parent, width=8)
        box_caching.write(found, data(photos))
    return found


def test_row_i_is_about_one_box_whatever_order_flip_and_padding(photos, own):
    """A student that is its own teacher says what the cache says of it.

    Row by row, up to the rounding of 8 bits, in any order of images.
    """
    model = ready(own, data(photos), **ALL)
    model.load_state_dict(torch.load(own['checkpoint']), strict=False)
    dataset = built(data(photos))[0]
    flips = set()
    for seed, order in enumerate(([0, 3], [4, 1, 2], [5, 2, 0, 1])):
        np.random.seed(seed)
        raw = batch(dataset, order)
        flips |= {sample.flip for sample in raw['data_samples']}
        for key, (student, teacher, about) in compared(model, raw).items():
            pairs = [(student, teacher)]
            if key == 'loss_box':
                scores, deltas = teacher
                pairs = [(student[0], scores)]
                best = scores[:, :-1].argmax(dim=1)
                rows = torch.arange(len(best))
                goal = student[1].unflatten(1, (-1, 4))[rows, best]
                # of 65,535 parts of two images, over a box of some pixels
                assert (goal - deltas).abs().max() < 0.05
                assert deltas.std() > 0.3
            for ours, theirs in pairs:
                assert ours.shape == (len(order) * BOXES, CLASSES + 1)
                ends = theirs.amax(dim=1) - theirs.amin(dim=1)
                gap = (ours - theirs).abs() - 0.51 * ends[:, None] / 254
                assert gap.max() < 2e-3 and theirs.std() > 1
            assert about.rois[:, 0].unique().tolist() == [*range(len(order))]
    assert flips == {True, False}


def test_boxes_of_objects_have_their_class(photos, own):
    model = ready(own, data(photos), loss_kd=KD)
    raw = batch(built(data(photos))[0], [1, 2])
    _, _, about = compared(model, raw)['loss_kd']
    labels = about.labels.unflatten(0, (2, BOXES))
    for row, sample in zip(labels, raw['data_samples'], strict=True):
        own_classes = {*sample.gt_instances.labels.tolist()}
        assert own_classes <= {*row[:4].tolist()} <= {*own_classes, CLASSES}
    assert about.background == about.no_object == CLASSES
    assert not about.added_gt.any() and len(about.added_gt) == 2 * BOXES


def test_one_pass_of_backbone_and_two_of_the_box_head(photos, block):
    model = ready(block, data(photos), **ALL)
    calls = []
    for name in ('backbone', 'neck', 'rpn_head', 'roi_head.bbox_head'):
        model.get_submodule(name).register_forward_hook(
            lambda *_, name=name: calls.append(name)
        )
    losses_of(model, batch(built(data(photos))[0], [0, 1]))
    counts = {name: calls.count(name) for name in calls}
    assert counts.pop('roi_head.bbox_head') == 2
    assert set(counts.values()) == {1}


def test_no_teacher_is_built_and_gradients_reach_the_backbone(
    photos, block, monkeypatch
):
    def refuse(*args, **kwargs):
        raise AssertionError('a teacher was built')

    monkeypatch.setattr(FrozenTeacher, '__init__', refuse)
    more = {
        f'loss_{kind}': dict(KD, type=f'luminet_mm.{kind}Loss')
        for kind in ('DKD', 'DIST')
    }
    foreground = dict(KD, rows='foreground', added_gt=False)
    every = dict(**ALL, **more, loss_foreground=foreground)
    model = ready(block, data(photos), **every)
    assert model.teachers.models == []
    losses = losses_of(model, batch(built(data(photos))[0], [0, 1]))
    for key in every:
        (grad,) = torch.autograd.grad(
            losses[key], [model.backbone.conv1.weight], retain_graph=True
        )
        assert losses[key] > 0 and grad.abs().max() > 0, key


def test_weight_0_is_stock_training_and_keys_are_stock(
    photos, block, tmp_path
):
    silent = {key: dict(loss, loss_weight=0.0) for key, loss in ALL.items()}
    ours = train(photos, tmp_path / 'a', model_config(block, **silent))
    stock = train(photos, tmp_path / 'b', tiny.detector(), hooks=[])
    ours, stock = ours.model.state_dict(), stock.model.state_dict()
    assert list(ours) == list(stock)
    assert all(torch.equal(ours[key], stock[key]) for key in stock)


def test_a_resumed_run_ends_as_one_that_was_not_stopped(
    photos, block, tmp_path
):
    """With weights that set themselves, a monitor and an average."""
    model = model_config(
        block,
        loss_luminet=dict(LUMINET, loss_weight='auto'),
        loss_box=dict(BOX, loss_weight=dict(share=0.5)),
    )
    # MMEngine saves no random state, so nothing may be drawn
    model.train_cfg.rpn.sampler.num = 10**6
    model.train_cfg.rcnn.sampler.num = 10**6
    steps = [*PIPELINE[:3], dict(FLIP, prob=1.0), PACK]
    hooks = [
        *HOOKS,
        dict(type='EMAHook', ema_type='ExponentialMovingAverage'),
        dict(type='luminet_mm.DistillMonitorHook', stop=False, interval=1),
    ]

    def run(name, **kwargs):
        return train(
            photos,
            tmp_path / name,
            model,
            steps,
            hooks=hooks,
            **kwargs,
        )

    whole = run('a')
    run('b', max_epochs=1)
    resumed = run('b', resume=True, experiment_name='resumed')
    logged = whole.message_hub.log_scalars
    weights = logged['train/weight_luminet'].data[0]
    assert np.isfinite(weights).all() and (weights > 0).all()
    assert 'train/share_luminet' in logged
    expected, found = whole.model.state_dict(), resumed.model.state_dict()
    assert list(found) == list(expected)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6)


def test_an_average_shares_the_cache(photos, block):
    model = ready(block, data(photos))
    twin = ExponentialMovingAverage(model).module
    assert twin.teacher is model.teacher
    with torch.no_grad():
        losses_of(twin, batch(built(data(photos))[0], [0, 1]))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_other_precisions(photos, block, dtype):
    model = ready(block, data(photos), **ALL)
    raw = batch(built(data(photos))[0], [0, 1])
    exact = losses_of(model, raw)
    with torch.autocast('cpu', torch.bfloat16, dtype is torch.bfloat16):
        if dtype is torch.float64:
            model.double()
            raw['inputs'] = [each.double() for each in raw['inputs']]
        losses = losses_of(model, raw)
    for key in ALL:
        torch.testing.assert_close(
            losses[key].double(), exact[key].double(), rtol=0.1, atol=1e-3
        )


def test_images_that_are_resized_at_random_have_moved_boxes(photos, block):
    sizes = [(96, 72), (64, 48)]
    resize = dict(type='RandomChoiceResize', scales=sizes, keep_ratio=True)
    config = data(photos, [LOAD, PIPELINE[1], resize, FLIP, PACK])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        model = ready(block, config, loss_kd=KD)
    dataset, relative = built(config)[0], {}
    for seed in range(8):
        np.random.seed(seed)
        raw = batch(dataset, [1, 1])
        _, _, about = compared(model, raw)['loss_kd']
        for i, sample in enumerate(raw['data_samples']):
            height, width = sample.img_shape
            boxes = about.rois[about.rois[:, 0] == i, 1:]
            share = boxes / boxes.new_tensor([width, height] * 2)
            key = sample.flip, width
            relative.setdefault(sample.flip, share)
            torch.testing.assert_close(share, relative[sample.flip])
            relative[key] = share
    assert {key for key in relative if isinstance(key, tuple)} == {
        (flip, width) for flip in (True, False) for width in (96, 64)
    }


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(type='PhotoMetricDistortion'), 'PhotoMetricDistortion makes vi'),
        (dict(type='RandomCrop', crop_size=(32, 32)), 'RandomCrop makes view'),
        (dict(type='Pad', size_divisor=32), 'Pad makes .*pad_size_divisor'),
    ],
)
def test_views_that_the_cache_does_not_have(photos, block, change, message):
    model = tiny.build(model_config(block))
    config = data(photos, [*PIPELINE[:-1], change, PACK])
    with pytest.raises(CacheError, match=rf'(?s)teacher\.cache: {message}'):
        model.teacher.check_data(*built(config))
    assert not model.teacher.checked


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(RESIZE, scale=(64, 48)),
            r'is stale. augmentation.pixels.*scale=\(96, 72\)',
        ),
        (
            dict(FLIP, direction='vertical'),
            'does not have these views: vertical. Take RandomFlip as it was',
        ),
    ],
)
def test_other_views_are_refused(photos, block, change, message):
    steps = [
        change if step['type'] == change['type'] else step for step in PIPELINE
    ]
    model = tiny.build(model_config(block))
    with pytest.raises(CacheError, match=message):
        model.teacher.check_data(*built(data(photos, steps)))


def test_a_batch_that_was_not_compared_or_does_not_say_its_views(
    photos, block
):
    dataset = built(data(photos))[0]
    model = tiny.build(model_config(block))
    with pytest.raises(CacheError, match='Add .*TeacherCheckHook'):
        losses_of(model, batch(dataset, [0]))
    model.teacher.check_data(*built(data(photos)))
    raw = batch(dataset, [0, 1])
    raw['data_samples'][1].set_metainfo(dict(img_id=77))
    with pytest.raises(CacheError, match="does not have image '77'"):
        losses_of(model, raw)
    del raw['data_samples'][1].img_id
    with pytest.raises(CacheError, match='Put img_id, flip and flip_direc'):
        losses_of(model, raw)


@pytest.mark.parametrize(
    ('distill', 'message'),
    [
        (
            dict(loss_x=dict(type='luminet_mm.PKDLoss', signal='neck')),
            "loss_x: it reads 'neck' of the teacher.* cache, which holds "
            "'roi.cls_score' and 'roi.bbox_pred' alone; remove `cache`",
        ),
        (
            dict(loss_x=dict(KD, signal='roi.feats')),
            "it reads 'roi.feats' of",
        ),
        (
            dict(loss_x=dict(KD, signal='roi.bbox_pred')),
            "KDLoss compares logits and reads 'roi.bbox_pred'",
        ),
        (
            dict(
                loss_x=dict(type='luminet_mm.PKDLoss', signal='roi.bbox_pred')
            ),
            'PKDLoss compares neither logits nor boxes of RoIs',
        ),
    ],
)
def test_losses_that_need_more_than_a_cache_has(block, distill, message):
    with pytest.raises(ValueError, match=message):
        tiny.build(model_config(block, **distill))


def test_students_and_teachers_that_a_cache_cannot_serve(block):
    cascade = model_config(block)
    cascade.update(tiny.detector('cascade'))
    cascade.type = 'luminet_mm.TwoStageDistiller'
    with pytest.raises(CacheError, match='does not have a single box head'):
        tiny.build(cascade)
    resized = model_config(block)
    resized.data_preprocessor.batch_augments = [
        dict(
            type='BatchSyncRandomResize',
            random_size_range=(64, 96),
            interval=1,
        )
    ]
    with pytest.raises(CacheError, match=r'batch_augments \(BatchSyncRandom'):
        tiny.build(resized)
    two = model_config([block, dict(block, cache=None)])
    with pytest.raises(ValueError, match='it lists 2 teachers, and one cho'):
        tiny.build(two)
    fewer = model_config(block)
    fewer.roi_head.bbox_head.num_classes = 3
    with pytest.raises(ValueError, match='3 classes and the teacher has 4'):
        tiny.build(fewer)
    other = copy.deepcopy(block)
    other['config']['model']['neck']['out_channels'] = 24
    with pytest.raises(CacheError, match='is stale. teacher.model.neck.out_c'):
        tiny.build(model_config(other))


def test_it_says_who_it_is_without_a_network(block):
    teacher = CachedBoxes(**block)
    assert teacher.name == 'FasterRCNN, cached'
    assert teacher.classes == tiny.CLASSES
    assert (teacher.model, teacher.fitted) == (None, True)
    assert 0 <= teacher.top1 <= 100
    assert copy.deepcopy(teacher) is teacher
    teacher.apply(torch.Tensor.double)
    teacher.prepare(lambda: 1 / 0, None)
    teacher.fit(lambda: 1 / 0, torch.device('cpu'))
    with pytest.raises(CacheError, match='what the teacher says of noise'):
        teacher.dry(None, [], torch.zeros(1))
    with pytest.raises(CacheError, match=r'^the_key\.cache: no cache in'):
        CachedBoxes(cache='nowhere', key='the_key', **{})
