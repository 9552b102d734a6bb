"""What every teacher answers: those that run and those that are read."""

import inspect

import pytest

from luminet_mm.teachers.base import Teacher
from luminet_mm.teachers.cached import CachedTeacher
from luminet_mm.teachers.frozen import FrozenTeacher

METHODS = [
    name
    for name, method in inspect.getmembers(Teacher, inspect.isfunction)
    if not name.startswith('_')
]


def test_half_a_teacher_cannot_be_made():
    with pytest.raises(TypeError, match='abstract'):
        Teacher()

    class Half(Teacher):
        def accept(self, student):
            return None

    with pytest.raises(TypeError, match='answer'):
        Half()


@pytest.mark.parametrize('kind', [FrozenTeacher, CachedTeacher])
def test_both_kinds_answer_all_of_it(kind):
    assert issubclass(kind, Teacher)
    assert not inspect.isabstract(kind)


@pytest.mark.parametrize('kind', [FrozenTeacher, CachedTeacher])
@pytest.mark.parametrize('name', METHODS)
def test_one_step_can_call_either(name, kind):
    """The arguments of the protocol fit, by place and by name."""
    wanted = inspect.signature(getattr(Teacher, name)).parameters
    signature = inspect.signature(getattr(kind, name))
    needed = [
        each.name for each in wanted.values() if each.default is each.empty
    ]
    signature.bind(*needed)
    first, *rest = wanted
    if rest:
        signature.bind(first, **dict.fromkeys(rest))


def test_what_nobody_says():
    class Silent(Teacher):
        pass

    for name in Teacher.__abstractmethods__:
        setattr(Silent, name, None)
    Silent.__abstractmethods__ = frozenset()
    teacher = Silent()
    assert (teacher.top1, teacher.model, teacher.classes) == (None, None, ())
