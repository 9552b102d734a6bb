"""Which runs' models are loaded, and what is said where one is missing."""

import pytest
import torch
from made_runs import LOSS, config, pair, write_run

from luminet_mm.report.groups import make_groups
from luminet_mm.report.models import (
    choose_runs,
    import_own,
    load_models,
    newest_checkpoint,
    reason,
)
from luminet_mm.report.runs import find_runs


def groups_of(root):
    return make_groups(find_runs([root]))


def test_all_models_are_loaded(detectors):
    groups = groups_of(detectors)
    models, notes = load_models(groups, groups[1])
    assert [(m.title, m.role) for m in models] == [
        ('student alone', 'student'),
        ('LumiNet', 'distilled'),
        ('teacher', 'teacher'),
    ]
    assert notes == []
    student = models[0].network
    saved = torch.load(detectors / 'student_seed0/epoch_2.pth')['state_dict']
    for name, value in student.state_dict().items():
        assert torch.equal(value.cpu(), saved[name]), name
    assert type(models[1].network).__name__ == 'TwoStageDetector'
    assert models[1].source == 'luminet_seed0/epoch_2.pth'
    assert not student.training


def test_the_newest_checkpoint_is_the_last_by_number(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    for number in (9, 10):
        (tmp_path / f'epoch_{number}.pth').touch()
    (tmp_path / 'best_coco_bbox_mAP_epoch_3.pth').touch()
    assert newest_checkpoint(tmp_path).name == 'epoch_10.pth'
    (tmp_path / 'last_checkpoint').write_text('/gone/epoch_9.pth')
    assert newest_checkpoint(tmp_path).name == 'epoch_9.pth'


def test_runs_of_one_seed_are_chosen(tmp_path):
    pair(tmp_path, [0.1, 0.2], [0.3, 0.4])
    for name in ('student_seed0', 'student_seed1', 'luminet_seed1'):
        (tmp_path / name / 'epoch_2.pth').touch()
    chosen = choose_runs(groups_of(tmp_path))
    names = [run.folder.name for _, run, _ in chosen]
    assert names == ['student_seed1', 'luminet_seed1']


def test_what_cannot_be_loaded_is_said(tmp_path):
    pair(tmp_path, [0.1], [0.3])
    (tmp_path / 'luminet_seed0/epoch_2.pth').write_text('x')
    groups = groups_of(tmp_path)
    models, notes = load_models(groups, groups[1])
    assert models == []
    assert notes[0] == 'student alone: no run has a checkpoint.'
    assert notes[1].startswith('LumiNet: the model cannot be loaded (')
    assert notes[2].startswith('the teacher: the model cannot be loaded (')


@pytest.mark.parametrize(
    ('teacher', 'why'),
    [
        ({}, 'the config names none'),
        (dict(config='x.py', checkpoint=None), 'names no checkpoint'),
        (dict(config='x.py', classes={'a': 'b'}), 'classes are mapped'),
    ],
)
def test_a_teacher_that_cannot_be_shown(tmp_path, teacher, why):
    settings = config(dict(loss_kd=LOSS))
    settings['model']['teacher'] = teacher or None
    write_run(tmp_path / 'kd', settings, [0.1, 0.2])
    groups = groups_of(tmp_path)
    _, notes = load_models(groups, groups[0])
    assert why in notes[-1]


def test_the_users_modules_are_imported(tmp_path, monkeypatch):
    (tmp_path / 'my_models_of_a_test.py').write_text('raise OSError("ran")\n')
    monkeypatch.syspath_prepend(tmp_path)
    import_own({})
    with pytest.raises(OSError, match='ran'):
        import_own(dict(custom_imports=dict(imports=['my_models_of_a_test'])))


def test_a_reason_is_one_line():
    assert reason(ValueError('one.\ntwo')) == 'one'
    assert reason(KeyError()) == 'KeyError'
