"""What every teacher answers: those that run and those that are read."""

import ast
import inspect
from pathlib import Path

import pytest

import luminet_mm
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


PACKAGE = Path(luminet_mm.__file__).parent


KINDS = [FrozenTeacher, CachedTeacher]


def names_of(node):
    return {
        each.id if isinstance(each, ast.Name) else each.attr
        for each in ast.walk(node)
        if isinstance(each, (ast.Name, ast.Attribute))
    }


def test_nobody_asks_which_kind_of_teacher_it_is():
    """A third kind, such as a cache of boxes, needs no edit elsewhere."""
    kinds = {'Teacher', *(kind.__name__ for kind in KINDS)}
    seen = 0
    for path in PACKAGE.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text('utf-8'))):
            if not isinstance(node, ast.Call) or len(node.args) < 2:
                continue
            if names_of(node.func) & {'isinstance', 'issubclass'}:
                seen += 1
                asked = names_of(node.args[1]) & kinds
                assert not asked, f'{path.name}:{node.lineno} {asked}'
    assert seen > 100, 'the search finds what it looks for'
