"""CachedTeacher: rows that are read, and students that it cannot serve.

Beside rows of a made-up cache these are runs with a cache that was written.
"""

import copy
from pathlib import Path
from types import SimpleNamespace

import caching
import numpy as np
import pytest
import tiny_cls
import torch
from caching import (
    DATA,
    KD,
    dataset,
    deviation,
    model_of,
    train,
    write,
)
from mmengine.registry import DATASETS
from tiny_cls import build, prepared

from luminet_mm.datasets.replay import ReplayDataset
from luminet_mm.models.heads.reused import ReusedClsHead
from luminet_mm.preflight import leaf_datasets
from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.family import Question
from luminet_mm.signals.signal import Signal
from luminet_mm.teachers import cached
from luminet_mm.teachers.cache import TeacherCache
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cached import CachedTeacher, check_student
from luminet_mm.teachers.frozen import FrozenTeacher

FAMILY = Classifier()
IMAGES, CLASSES = 6, 5


class Cache:
    """A cache whose row i is i, in every class."""

    problem = stale = ''
    images, folder = IMAGES, 'folder'
    header = dict(
        teacher=dict(model=dict(type='ResNet')),
        data=dict(classes=['a', 'b', 'c', 'd', 'e']),
        top1=71.5,
    )

    def __init__(self, folder):
        self.taken = None
        if self.problem:
            raise ValueError(self.problem)

    def stale_teacher(self, block):
        return [self.stale] if self.stale else []

    def stale_augmentation(self, config, rounds, seed):
        return []

    def stale_data(self, dataset, leaves):
        return leaves  # what differs

    def first_rounds(self, wanted):
        return range(min(wanted, 2))

    def check(self, rounds):
        if self.problem:
            raise CacheError(self.problem)

    def take(self, rounds):
        self.taken = rounds

    def other_versions(self):
        return []

    def rows(self, views):
        return np.repeat(np.float32(views)[:, None], CLASSES, axis=1)


@pytest.fixture
def kind(monkeypatch):
    kind = type('Kind', (Cache,), {})
    monkeypatch.setattr(cached, 'TeacherCache', kind)
    return kind


def replayed():
    dataset = object.__new__(ReplayDataset)
    dataset.config, dataset.rounds, dataset.seed = {}, 3, 0
    return dataset


def ready(**block):
    teacher = CachedTeacher('folder', **block)
    teacher.check_data(replayed(), [])
    return teacher


def test_it_says_who_it_is_without_a_network(kind):
    teacher = CachedTeacher('folder', key='model.teacher.1', config='a.py')
    assert teacher.name == 'ResNet, cached'
    assert teacher.classes == ('a', 'b', 'c', 'd', 'e')
    assert (teacher.model, teacher.top1, teacher.fitted) == (None, 71.5, True)
    assert copy.deepcopy(teacher) is teacher
    # nothing to move, to make fast or to fit
    teacher.apply(torch.Tensor.double)
    teacher.prepare(lambda: 1 / 0, None)
    teacher.fit(lambda: 1 / 0, torch.device('cpu'))


def test_the_rows_of_a_batch_are_those_of_its_views(kind):
    teacher = ready()
    samples = [SimpleNamespace(view=view) for view in (8, 3)]
    logits = Signal('logits', 'head', 'logits')
    questions = [Question([logits], [logits])] * 2
    images = torch.zeros(2, 3, 4, 4)
    ahead = teacher.begin(None, images, samples, questions).wait()
    one, two = teacher.answer(FAMILY, ahead, questions, None)
    assert one is two
    assert one.dtype == torch.float32
    assert one.tolist() == [[8.0] * CLASSES, [3.0] * CLASSES]


def test_noise_has_rows_of_its_shape(kind):
    teacher = CachedTeacher('folder')  # before the data are known
    (rows,) = teacher.dry(FAMILY, ['question'], torch.zeros(IMAGES + 2, 1))
    assert rows.shape == (IMAGES + 2, CLASSES)


def test_a_cache_that_is_not_there_or_of_another_teacher(kind):
    kind.problem = 'no cache in folder'
    with pytest.raises(CacheError, match=r'^model\.teacher\.cache: no cache'):
        CachedTeacher('folder')
    kind.problem, kind.stale = '', 'teacher.depth: 8 in the cache, 14'
    with pytest.raises(CacheError, match='is stale. teacher.depth: 8 in the'):
        CachedTeacher('folder')


def test_it_has_logits_alone_and_of_so_many_classes(kind):
    teacher = CachedTeacher('folder')
    signal = teacher.find(FAMILY, 'logits')
    assert (signal.name, signal.part) == ('logits', 'head')
    with pytest.raises(ValueError, match="cache holds .* not 'backbone'"):
        teacher.find(FAMILY, 'backbone')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(train_cfg=dict(augments=dict(type='Mixup', alpha=1.0))),
            'mixes',
        ),
        (
            dict(
                data_preprocessor=dict(
                    type='luminet_mm.MultiViewClsDataPreprocessor'
                )
            ),
            'makes several views of each image',
        ),
    ],
)
def test_students_that_it_cannot_serve(kind, change, message):
    model = tiny_cls.classifier()
    CachedTeacher('folder').accept(tiny_cls.build(model))
    model.update(change)
    with pytest.raises(CacheError, match=rf'(?s)^the_key\.cache: .*{message}'):
        CachedTeacher('folder', key='the_key').accept(tiny_cls.build(model))


def test_data_that_it_did_not_see_are_refused_and_it_stays_silent(kind):
    teacher = CachedTeacher('folder')
    samples, images = [SimpleNamespace(view=0)], torch.zeros(1, 3, 4, 4)
    with pytest.raises(CacheError, match='Add .*TeacherCheckHook'):
        teacher.logits(samples, images)
    with pytest.raises(CacheError, match="type='luminet_mm.ReplayDataset'"):
        teacher.check_data([1, 2], [])
    with pytest.raises(CacheError, match='is stale. other labels'):
        teacher.check_data(replayed(), ['other labels'])
    kind.problem = 'round_000.npy is damaged'
    with pytest.raises(CacheError, match='cache: round_000.npy is damaged'):
        teacher.check_data(replayed(), [])
    assert not teacher.checked and teacher.cache.taken is None
    kind.problem = ''
    teacher.check_data(replayed(), [])
    assert teacher.cache.taken == range(2)
    assert teacher.logits(samples, images).shape == (1, CLASSES)
    with pytest.raises(CacheError, match='does not say which views it has'):
        teacher.logits([SimpleNamespace()], images)


pytestmark = pytest.mark.usefixtures('mmpretrain_scope')


def test_a_run_is_that_with_the_teacher_and_builds_none(
    block, whole, tmp_path, monkeypatch
):
    live = {key: value for key, value in block.items() if key != 'cache'}
    expected = train(live, tmp_path / 'live')

    def refuse(*args, **kwargs):
        raise AssertionError('a teacher was built')

    monkeypatch.setattr(FrozenTeacher, '__init__', refuse)
    monitor = dict(type='luminet_mm.DistillMonitorHook', stop=False)
    watched = train(
        block, tmp_path / 'a', custom_hooks=[*caching.HOOKS, monitor]
    )
    assert deviation(watched, expected) < 1e-6
    train(block, tmp_path / 'b', max_epochs=1)
    resumed = train(
        block,
        tmp_path / 'b',
        resume=True,
        experiment_name='resumed',
    )
    assert deviation(resumed, expected) < 1e-6


def test_rounds_are_added(block):
    def check():
        data = dataset()
        build(model_of(block)).teacher.check_data(data, leaf_datasets(data))

    write(block, rounds=1)
    with pytest.raises(CacheError, match='rounds: 1 in the cache, 2 in this'):
        check()
    assert write(block) == [1]
    check()
    assert write(block, rounds=1) == [], 'a student may see fewer'
    assert TeacherCache(block['cache']).rounds == 2


def other_weights(block, tmp_path):
    state = torch.load(block['checkpoint'])
    block['checkpoint'] = str(tmp_path / 'b.pth')
    torch.save(
        {**state, 'head.fc.bias': torch.ones(CLASSES)}, tmp_path / 'b.pth'
    )


def other_model(block, tmp_path):
    block['config']['model']['backbone']['depth'] = 14


def other_precision(block, tmp_path):
    block['dtype'] = 'bf16'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (other_weights, 'teacher.checkpoint.sha256: .* in the cache'),
        (other_model, r'teacher.model.backbone.depth: 8 in the cache, 14 in'),
        (other_precision, "teacher.options.dtype: None in the cache, 'bf16'"),
    ],
)
def test_another_teacher_is_refused(block, whole, tmp_path, change, message):
    change(block, tmp_path)
    with pytest.raises(CacheError, match=f'is stale. {message}'):
        build(model_of(block))


def pipeline(**kwargs):
    inner = copy.deepcopy(DATA['dataset'])
    inner['pipeline'][0].update(kwargs)
    return dict(DATA, dataset=inner)


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (dict(DATA, seed=1), 'augmentation.seed: 0 in the cache, 1 in this'),
        (
            pipeline(padding=2),
            'augmentation.pipelines.0.0.padding: 1 in the cache, 2 in this',
        ),
        (
            dict(DATA, dataset=dict(DATA['dataset'], split='val')),
            'data.paths_and_labels: ',
        ),
        (
            dict(
                DATA,
                dataset=dict(
                    DATA['dataset'], metainfo=dict(classes=tuple('qwertyuiop'))
                ),
            ),
            "data.classes.0: '0' in the cache, 'q' in this",
        ),
        (dict(DATA['dataset']), 'Set train_dataloader.dataset=dict'),
    ],
)
def test_other_data_are_refused(block, whole, data, message):
    own = DATASETS.build(copy.deepcopy(data))
    teacher = build(model_of(block)).teacher
    with pytest.raises(CacheError, match=message):
        teacher.check_data(own, leaf_datasets(own))
    assert not teacher.checked


def test_the_hook_refuses_before_the_first_step(block, whole, tmp_path):
    with pytest.raises(CacheError, match='augmentation.seed: 0 in'):
        train(block, tmp_path / 'run', dict(DATA, seed=1))
    assert not list(tmp_path.glob('run/*.pth'))


@pytest.mark.parametrize('at_once', [4e9, 0])
def test_damaged_rounds_are_refused_before_they_teach(
    block, whole, tmp_path, monkeypatch, at_once
):
    """Before the first step; of a large cache when a round is first used."""
    path = Path(block['cache'], 'round_001.npy')
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    monkeypatch.setattr('luminet_mm.teachers.cache.AT_ONCE', at_once)
    with pytest.raises(CacheError, match='round_001.npy is damaged: its byt'):
        train(block, tmp_path / 'run')
    saved = [path.name for path in tmp_path.glob('run/*.pth')]
    assert saved == ([] if at_once else ['epoch_1.pth'])


def test_other_versions_are_a_warning(block, whole, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(
        'luminet_mm.teachers.stored.print_log',
        lambda text, *args: logged.append(text),
    )
    train(block, tmp_path / 'a', max_epochs=1)
    assert logged == []
    monkeypatch.setattr(
        'luminet_mm.teachers.cache.package_versions', lambda: dict(mmcv='9')
    )
    train(block, tmp_path / 'b', max_epochs=1)
    assert any(
        "mmcv: '" in text and "'9' in this run" in text for text in logged
    )


def test_forgetting_the_hook_or_the_views_is_refused(block, whole, tmp_path):
    with pytest.raises(CacheError, match='it was not compared .*TeacherCheck'):
        train(block, tmp_path / 'a', custom_hooks=[])
    model = build(model_of(block))
    model.teacher.checked = True
    data = prepared(model)
    with pytest.raises(CacheError, match='does not say which views'):
        model.loss(data['inputs'], data['data_samples'])


def test_what_a_cache_cannot_serve_is_refused(block, whole):
    fitnet = dict(type='luminet_mm.FitNetLoss', signal='backbone.layer3')
    with pytest.raises(ValueError, match='loss_fit: FitNetLoss does not'):
        build(model_of(block, loss_fit=fitnet))
    feats = dict(KD, signal='feats')
    with pytest.raises(ValueError, match="loss_kd: it reads 'feats' of"):
        build(model_of(block, loss_kd=feats))
    mixed = model_of(block)
    mixed.train_cfg = dict(augments=[dict(type='Mixup', alpha=0.8)])
    with pytest.raises(CacheError, match='train_cfg.augments mixes images'):
        build(mixed)
    views = model_of(block)
    views.data_preprocessor.type = 'luminet_mm.MultiViewClsDataPreprocessor'
    with pytest.raises(CacheError, match='several views of each image'):
        build(views)
    fewer = model_of(block)
    fewer.head.num_classes = 5
    with pytest.raises(ValueError, match='5 classes and the teacher has 10'):
        build(fewer)


def test_a_member_of_an_ensemble_may_be_cached(block, whole):
    live = {key: value for key, value in block.items() if key != 'cache'}
    data = dataset()
    items = data.__getitems__([1, 4, caching.IMAGES])
    batch = {key: [item[key] for item in items] for key in items[0]}
    losses = []
    for teachers in ([live, live], [dict(block, weight=3), live]):
        model = build(model_of(teachers[0]) | dict(teacher=teachers))
        model.teachers[0].checked = True
        done = model.data_preprocessor(batch, True)
        losses.append(model.loss(done['inputs'], done['data_samples']))
    torch.testing.assert_close(losses[0]['loss_kd'], losses[1]['loss_kd'])


def test_a_student_that_takes_its_classifier_is_refused():
    student = SimpleNamespace(
        data_preprocessor=None,
        head=ReusedClsHead(num_classes=CLASSES, in_channels=4),
    )
    with pytest.raises(CacheError, match="x.cache: the student's head .Reuse"):
        check_student('x', student)
    student.head = None
    check_student('x', student)
