"""Gradients of losses: their lengths, and the tool that prints them."""

import math

import pytest
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from luminet_mm.analysis import gradients
from luminet_mm.analysis.gradients import gradient_lengths, measure


def distiller(weight=1.0):
    return tiny_cls.distiller(
        loss_kd=dict(
            type='luminet_mm.KDLoss', signal='logits', loss_weight=weight
        ),
        loss_hint=dict(
            type='luminet_mm.FitNetLoss', signal='feats', connector='linear'
        ),
    )


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def test_length_is_that_of_the_whole_gradient():
    model = tiny_cls.build(distiller())
    batches = [tiny_cls.batch(seed=seed) for seed in (0, 1)]
    lengths = gradient_lengths(model, batches)
    assert set(lengths) == {'student', 'loss_kd', 'loss_hint'}
    total = 0
    for raw in batches:
        data = model.data_preprocessor(raw, True)
        losses = model.loss(data['inputs'], data['data_samples'])
        model.zero_grad()
        losses['loss_kd'].backward()
        total += torch.cat(
            [p.grad.flatten() for p in model.backbone.parameters()]
        ).norm()
    assert lengths['loss_kd'] == pytest.approx(total.item() / 2, rel=1e-4)


def test_length_grows_with_the_weight():
    one, three = (
        gradient_lengths(tiny_cls.build(distiller(weight)), [tiny_cls.batch()])
        for weight in (1.0, 3.0)
    )
    assert three['loss_kd'] == pytest.approx(3 * one['loss_kd'], rel=1e-4)
    for key in ('loss_hint', 'student'):
        assert three[key] == pytest.approx(one[key], rel=1e-4)


def config():
    return Config(
        dict(
            model=distiller(),
            default_scope='mmpretrain',
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                dataset=tiny_cls.ToyDataset(),
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='pseudo_collate'),
            ),
        )
    )


def test_a_config_is_measured_the_same_twice():
    one, other = (measure(config(), steps=2) for _ in range(2))
    assert one == other and set(one) == {'loss_kd', 'loss_hint'}
    assert all(0 < value < 1e4 for value in one.values())


def test_a_student_without_losses_of_its_own():
    """SimKD's: its head is the teacher's."""
    cfg = config()
    cfg.model.head.loss.loss_weight = 0.0
    assert set(measure(cfg, steps=1).values()) == {math.inf}


def test_a_grid_is_printed(tmp_path, monkeypatch, capsys):
    (tmp_path / 'base.py').write_text('model = dict(type="x")')
    (tmp_path / 'grid.py').write_text(
        'runs = dict('
        'student=dict(config="base.py", seeds=[0, 1]), '
        'kd=dict(config="base.py", seeds=[0, 1], '
        'options={"model.distill.loss_kd.tau": 2}), '
        'dkd=dict(config="base.py", seeds=[0], '
        'options={"model.distill.loss_dkd.tau": 2}))'
    )
    monkeypatch.chdir(tmp_path)
    seen = []

    def fake(cfg, steps):
        seen.append((cfg.model.distill.to_dict(), steps))
        return {key: 0.5 for key in cfg.model.distill}

    monkeypatch.setattr(gradients, 'measure', fake)
    gradients.main(['grid.py', '--steps', '3'])
    assert seen == [
        (dict(loss_kd=dict(tau=2)), 3),
        (dict(loss_dkd=dict(tau=2)), 3),
    ]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ['kd', 'loss_kd', '0.5'],
        ['dkd', 'loss_dkd', '0.5'],
    ]
    gradients.main(['grid.py', '--only', 'dkd'])
    assert len(seen) == 3
