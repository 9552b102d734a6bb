"""What is NaN is found, and said with what can be done."""

from types import SimpleNamespace

import pytest
import torch

from luminet_mm.runs.not_finite import (
    not_finite,
    step_message,
    weights_message,
)

NAN, INF = float('nan'), float('inf')


def test_names_of_what_is_not_finite():
    found = not_finite(
        [
            ('good', torch.ones(3)),
            ('nan', torch.tensor([0.0, NAN])),
            ('whole numbers', torch.tensor([2**62])),
            ('half', torch.tensor([INF]).half()),
            ('not a tensor', NAN),
            ('empty', torch.ones(0)),
        ]
    )
    assert found == ['nan', 'half']
    assert not_finite([]) == []


@pytest.fixture
def runner(tmp_path):
    return SimpleNamespace(work_dir=str(tmp_path))


def test_a_step_names_the_losses_and_not_their_sum(runner):
    text = step_message(runner, 7, dict(loss_kd=NAN, loss=NAN), 0)
    assert text.startswith('iteration 7: loss_kd is nan. The run was stopped')
    assert 'No checkpoint had been saved before.' in text
    assert 'bfloat16' not in text
    assert 'loss is inf' in step_message(runner, 1, dict(loss=INF), 0)


def test_a_scaler_had_skipped_the_steps_before(runner):
    text = step_message(runner, 9, dict(grad_norm=INF), 5)
    assert 'the 4 steps before it had to be skipped too' in text
    assert text.endswith('in mixed precision use bfloat16.')


def test_weights_and_the_last_good_checkpoint(runner, tmp_path):
    (tmp_path / 'epoch_2.pth').touch()
    (tmp_path / 'last_checkpoint').write_text('/moved/epoch_2.pth')
    text = weights_message(runner, 3, list('abcde'))
    assert 'a, b, c and 2 more' in text
    assert f'The last good checkpoint is {tmp_path / "epoch_2.pth"}.' in text
