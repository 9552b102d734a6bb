"""Which teachers are compared, and what of a checkpoint is the student.

Whole pairs are built with the tool: tests/tools/test_analyze.py.
"""

from argparse import Namespace

import pytest
import torch
from mmengine.config import Config
from torch import nn

from luminet_mm.analysis import AnalysisError
from luminet_mm.analysis.built_pair import load_student, teacher_blocks
from luminet_mm.runs.launchers import LaunchError

ONE = dict(config='one.py', checkpoint='one.pth')
TWO = dict(config='two.py', checkpoint='two.pth', weight=2.0)


def blocks(teacher, config=None, checkpoint=None):
    cfg = Config(dict(model=dict(teacher=teacher)))
    args = Namespace(
        config='pair.py', teacher_config=config, teacher_checkpoint=checkpoint
    )
    return teacher_blocks(cfg, args)


def test_the_configs_teachers_are_copied():
    cfg = Config(dict(model=dict(teacher=[ONE, TWO])))
    args = Namespace(teacher_config=None, teacher_checkpoint=None)
    found = teacher_blocks(cfg, args)
    assert found == [ONE, TWO]
    found[0].clear()
    assert cfg.model.teacher[0] == ONE


def test_flags_win():
    assert blocks(TWO, checkpoint='new.pth') == [
        dict(TWO, checkpoint='new.pth')
    ]
    assert blocks(None, 'a.py', 'a.pth') == [
        dict(config='a.py', checkpoint='a.pth')
    ]
    # another teacher in place of several, whose weights mean nothing then
    assert blocks([ONE, TWO], 'a.py', 'a.pth') == [
        dict(config='a.py', checkpoint='a.pth')
    ]


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ((None,), 'has no config: give --teacher-config'),
        ((None, 'a.py'), 'has no checkpoint: give --teacher-checkpoint'),
        (([ONE, TWO], 'a.py'), 'pair.py has several teachers: give both'),
    ],
)
def test_half_a_teacher_is_refused(given, words):
    with pytest.raises(LaunchError, match=words):
        blocks(*given)


def test_parts_of_a_method_are_not_the_students(tmp_path):
    model = nn.Linear(2, 1)
    state = {key: value + 1 for key, value in model.state_dict().items()}
    args = Namespace(config='pair.py', checkpoint=str(tmp_path / 'run.pth'))
    extra = {'distill.loss_crd.connector.weight': torch.ones(3)}
    torch.save(dict(state_dict={**state, **extra}), args.checkpoint)
    load_student(model, args)
    assert model.weight.equal(state['weight'])


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'scale': torch.ones(1)}, 'scale: unexpected'),
        ({'weight': torch.ones(3, 2)}, 'weight: '),
    ],
)
def test_a_checkpoint_that_does_not_fit(tmp_path, change, words):
    model = nn.Linear(2, 1)
    args = Namespace(config='pair.py', checkpoint=str(tmp_path / 'run.pth'))
    state = {**model.state_dict(), **change}
    torch.save(dict(state_dict=state), args.checkpoint)
    with pytest.raises(AnalysisError, match='does not fit pair.py') as error:
        load_student(model, args)
    assert words in str(error.value)
