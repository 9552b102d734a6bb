"""The teachers of a config, with the keys that name them."""

from luminet_mm.teachers.entries import (
    teacher_entries,
    teacher_list,
    without_cache,
)

TEACHER = dict(config='a.py', checkpoint='a.pth')


def test_teachers_are_one_several_or_none():
    assert teacher_list(None) == []
    assert teacher_list(TEACHER) == [TEACHER]
    assert teacher_list((TEACHER, {})) == [TEACHER, {}]
    assert teacher_entries(TEACHER) == [('model.teacher', TEACHER)]
    assert [key for key, _ in teacher_entries([{}, {}])] == [
        'model.teacher.0',
        'model.teacher.1',
    ]


def test_a_teacher_without_its_cache_runs():
    block = dict(TEACHER, cache='folder', boxes_per_step=3)
    assert without_cache(block) == 'folder'
    assert block == TEACHER
    assert without_cache(block) is None
    own = dict(TEACHER, boxes_per_step=3)  # of the running teacher
    assert without_cache(own) is None
    assert own == dict(TEACHER, boxes_per_step=3)
