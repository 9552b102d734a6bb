"""Groups of runs by settings, and their roles."""

import pytest
from made_runs import LOSS, TEACHER, config, pair, write_run

from luminet_mm.report.groups import (
    baseline_of,
    differences,
    losses_of,
    make_groups,
    role_of,
    teachers_of,
)
from luminet_mm.report.runs import find_runs, read_run


def groups_of(*folders, teacher=None):
    return make_groups(find_runs(folders), teacher)


def test_seeds_of_one_setting_are_a_group(tmp_path):
    root = pair(tmp_path, [0.1, 0.2, 0.3], [0.4, 0.5])
    student, distilled = groups_of(root)
    assert (student.role, student.title) == ('student', 'student alone')
    assert (distilled.role, distilled.title) == ('distilled', 'LumiNet')
    assert student.values('coco/bbox_mAP') == [0.1, 0.2, 0.3]
    assert [run.seed for run in distilled.runs] == [0, 1]


def test_another_setting_is_another_group(tmp_path):
    for weight in (1.0, 2.0):
        block = dict(loss_kd=dict(LOSS, loss_weight=weight))
        write_run(tmp_path / f'kd_w{weight}_seed0', config(block), [0.1, 0.2])
    titles = [group.title for group in groups_of(tmp_path)]
    assert titles == ['LumiNet (kd_w1.0)', 'LumiNet (kd_w2.0)']


def test_equal_names_in_two_folders_are_told_apart(tmp_path):
    for name, epochs in (('one', 2), ('two', 1)):
        write_run(tmp_path / name / 'student', config(epochs=epochs), [0.1])
    found = groups_of(tmp_path / 'one', tmp_path / 'two')
    assert [group.name for group in found] == ['one/student', 'two/student']
    assert found[0].title == 'student alone (one/student)'


def test_titles_are_unique(tmp_path):
    for folder in ('x/one', 'y/one'):
        settings = config(epochs=2 + (folder[0] == 'y'))
        write_run(tmp_path / folder / 'student', settings, [0.1])
    found = groups_of(tmp_path / 'x/one', tmp_path / 'y/one')
    assert [group.title for group in found] == [
        'student alone (one/student)',
        'student alone (one/student) #2',
    ]


def test_runs_with_names_of_their_own_are_one_group(tmp_path):
    for seed, name in enumerate(('plain_a', 'plain_b')):
        write_run(tmp_path / name, config(seed=seed), [0.1, 0.2 + seed])
    (group,) = groups_of(tmp_path)
    assert group.name == 'plain' and len(group.runs) == 2


def test_a_copy_of_a_run_is_counted_once(tmp_path):
    for name in ('a_seed0', 'copy_of_a'):
        write_run(tmp_path / name, config(), [0.1, 0.2])
    write_run(tmp_path / 'a_seed0_again', config(), [0.1, 0.25])
    (group,) = groups_of(tmp_path)
    assert sorted(group.values('coco/bbox_mAP')) == [0.2, 0.25]
    assert 'copy_of_a is a_seed0 again' in group.notes[0]


def test_runs_at_their_end_count_if_there_are_any(tmp_path):
    write_run(tmp_path / 'a_seed0', config(seed=0), [0.1, 0.2])
    write_run(tmp_path / 'a_seed1', config(seed=1), [0.3])
    (group,) = groups_of(tmp_path)
    assert group.values('coco/bbox_mAP') == [0.2]
    (late,) = groups_of(tmp_path / 'a_seed1')
    assert late.values('coco/bbox_mAP') == [0.3]


def test_roles_are_those_of_the_configs():
    assert role_of(config()) == 'student'
    assert role_of(config(dict(loss_kd=LOSS))) == 'distilled'
    assert role_of(dict(model=dict(peers=[{}]))) == 'distilled'
    assert role_of({}) == 'student'


def test_the_teacher_is_found_by_its_checkpoint(tmp_path):
    root = pair(tmp_path / 'runs', [0.1], [])
    boss = write_run(tmp_path / 'boss', config(depth=50), [0.4, 0.5])
    block = config(dict(loss_kd=LOSS))
    block['model']['teacher']['checkpoint'] = str(boss / 'epoch_2.pth')
    write_run(root / 'kd', block, [0.2, 0.3])
    roles = {group.name: group.role for group in groups_of(root, boss)}
    assert roles == dict(student='student', kd='distilled', boss='teacher')


def test_the_teacher_is_found_by_its_config(tmp_path):
    root = pair(tmp_path, [0.1], [0.2])
    boss = write_run(root / 'boss', config(depth=50), [0.4, 0.5])
    assert {group.role for group in groups_of(root)} != {'teacher'}
    (boss / 'teacher_test.py').write_text('a = 1\n')  # of tools/test.py
    assert groups_of(root)[-1].role == 'teacher'


def test_the_teacher_can_be_named(tmp_path):
    root = pair(tmp_path, [0.1], [0.2])
    boss = write_run(root / 'boss', config(depth=50), [0.4, 0.5])
    found = groups_of(root, teacher=str(boss))
    assert [(g.title, g.role) for g in found][-1] == ('teacher', 'teacher')


def test_losses_have_the_names_of_their_papers():
    block = dict(
        loss_a=dict(type='luminet_mm.KDLoss', loss_weight='auto'),
        loss_b=dict(type='mine.OwnLoss'),
        broken=3,
    )
    assert losses_of(config(block)) == [
        ('KD', 'loss_a', 'auto'),
        ('Own', 'loss_b', 'default'),
    ]
    assert losses_of(config()) == [] == losses_of({})


def test_teachers_of_a_config():
    assert teachers_of(config(dict(loss_kd=LOSS))) == [TEACHER]
    assert teachers_of({}) == []


@pytest.fixture
def students(tmp_path):
    """Two students alone: one of three epochs, one of two."""
    for epochs in (3, 2):
        write_run(
            tmp_path / f'plain{epochs}',
            config(epochs=epochs),
            [0.1] * epochs,
        )
    return [g for g in groups_of(tmp_path) if g.role == 'student']


def test_the_student_with_the_same_settings_is_the_baseline(
    students, tmp_path
):
    run = write_run(tmp_path / 'd', config(dict(loss_kd=LOSS)), [0.2, 0.3])
    (group,) = make_groups([read_run(run)])
    base, others = baseline_of(group, students)
    assert base.name == 'plain2' and others == []
    assert differences(students[1], students[0])
    long = next(each for each in students if each.name == 'plain3')
    assert differences(long, group) == ['train_cfg.max_epochs: 3 → 2']


def test_without_a_student_there_is_no_baseline(students, tmp_path):
    assert baseline_of(students[0], []) == (None, [])
