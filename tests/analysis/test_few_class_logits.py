"""The simulation of few classes: what a student's two logits learn."""

import json
import sys

import pytest
import torch

from luminet_mm.analysis import few_class_logits

PUBLISHED = 'LumiNet, weight 4, tau 1'


def test_one_class_moves_what_both_logits_have_in_common():
    """The published form leaves the two less opposed; centred rows do not.

    Labels alone give -0.95 on the mean of eight seeds, LumiNet -0.79.
    """
    found = few_class_logits.simulate(1, seed=0, steps=150)
    opposed = {name: each['correlation'] for name, each in found.items()}
    assert opposed['labels alone'] < -0.9
    assert opposed[PUBLISHED] > opposed['labels alone'] + 0.05
    centred = opposed[f'{PUBLISHED}, center_rows']
    assert centred < opposed[PUBLISHED] - 0.05


def test_a_seed_gives_the_same_numbers_and_another_does_not(monkeypatch):
    loss = few_class_logits.losses()[PUBLISHED]
    monkeypatch.setattr(few_class_logits, 'losses', lambda: dict(one=loss))
    first, again, other = (
        few_class_logits.simulate(3, seed, steps=5) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert first['teacher']['AP'] > first['one']['AP'] > 0


def test_the_file_has_each_seed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        few_class_logits,
        'simulate',
        lambda classes, seed: dict(
            loss=dict(AP=classes + seed, correlation=-0.5)
        ),
    )
    out = tmp_path / 'out.json'
    monkeypatch.setattr(
        sys,
        'argv',
        ['few', '--classes', '1', '2', '--seeds', '2', '--json', str(out)],
    )
    few_class_logits.main()
    found = json.loads(out.read_text())
    assert found['2']['loss'] == dict(AP=[2, 3], correlation=[-0.5, -0.5])
    assert '2.5 ± 0.7' in capsys.readouterr().out


def test_losses_differ_in_their_options():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 30, 3)
    values = [
        loss(student, teacher).item()
        for loss in few_class_logits.losses().values()
        if loss is not None
    ]
    assert len(set(values)) == len(values) == 18
    assert values[1] == pytest.approx(4 * values[0])
