"""The student of a config: a stock model with all of its weights."""

import pytest
import torch
from tiny import build, detector, distiller

from luminet_mm.export import load_student
from luminet_mm.files.errors import CheckpointError


@pytest.fixture
def trained(tmp_path):
    """A checkpoint of a distiller, and its weights."""
    model = build(distiller(), seed=3)
    state = model.state_dict()
    extra = {'distill.loss_x.projector.w': torch.ones(2)}
    file = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict={**state, **extra}, meta={}), file)
    return str(file), state


def test_of_a_distillation_config(trained):
    file, state = trained
    model = load_student(dict(model=distiller()), file)
    assert type(model).__name__ == 'TwoStageDetector' and not model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])


def test_weights_that_do_not_fit_are_refused(trained):
    with pytest.raises(CheckpointError, match='epoch_1.pth'):
        load_student(dict(model=detector(width=16)), trained[0])
