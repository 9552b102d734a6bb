"""StoredTeacher: what teachers on disk have in common."""

import logging

import pytest

from luminet_mm.teachers import stored
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cached import CachedTeacher
from luminet_mm.teachers.cached_boxes import CachedBoxes
from luminet_mm.teachers.stored import StoredTeacher


class Cache:
    folder = 'folder'
    header = dict(
        teacher=dict(model=dict(type='ResNet')), data=dict(classes=['a'])
    )

    def __init__(self):
        self.taken = None
        self.damaged = ''

    def stale_teacher(self, block):
        return ''

    def first_rounds(self, rounds):
        return range(rounds)

    def check(self, rounds):
        if self.damaged:
            raise CacheError(self.damaged)

    def take(self, rounds):
        self.taken = rounds

    def other_versions(self):
        return ['written by another version']


class Teacher(StoredTeacher):
    problem = ''

    def open(self, folder):
        return Cache()

    def rounds_of(self, dataset):
        return len(dataset)

    def other_data(self, dataset, leaves):
        return self.problem

    def notes(self, leaves):
        return [f'{len(leaves)} leaves']


Teacher.__abstractmethods__ = frozenset()


@pytest.fixture
def lines(monkeypatch):
    found = []
    monkeypatch.setattr(stored, 'print_log', lambda *args: found.append(args))
    return found


def test_it_answers_only_after_its_data_were_compared(lines):
    teacher = Teacher('folder', key='model.teacher.1')
    with pytest.raises(CacheError, match=r'^model\.teacher\.1\.cache: it was'):
        teacher.need_check()
    teacher.check_data([1, 2], ['leaf'])
    teacher.need_check()
    assert teacher.cache.taken == range(2)
    warning = ('current', logging.WARNING)
    assert lines == [
        ('model.teacher.1.cache: written by another version', *warning),
        ('model.teacher.1.cache: 1 leaves', *warning),
    ]


def test_other_data_and_damage_are_refused(lines):
    teacher = Teacher('folder')
    teacher.problem = 'other images'
    with pytest.raises(CacheError, match='^other images$'):
        teacher.check_data([1], [])
    teacher.problem, teacher.cache.damaged = '', 'round 0 is damaged'
    with pytest.raises(CacheError, match='cache: round 0 is damaged'):
        teacher.check_data([1], [])
    assert teacher.cache.taken is None and not lines
    with pytest.raises(CacheError, match='was not compared'):
        teacher.need_check()


def test_both_caches_are_such_teachers():
    assert issubclass(CachedTeacher, StoredTeacher)
    assert issubclass(CachedBoxes, StoredTeacher)
