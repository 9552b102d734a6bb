"""CachedTeacher: rows that are read, and students that it cannot serve.

Runs with a cache, and every kind of staleness, are in test_cache.py.
"""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_cls
import torch

from luminet_mm.datasets.replay import ReplayDataset
from luminet_mm.signals.classifier import Classifier
from luminet_mm.signals.family import Question
from luminet_mm.signals.signal import Signal
from luminet_mm.teachers import cached
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cached import CachedTeacher

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
    with pytest.raises(ValueError, match="cache holds .* no 'backbone'"):
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
