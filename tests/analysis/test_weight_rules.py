"""Weights by rules: what each makes equal, and the tool that prints them."""

import json
import math

import pytest
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from luminet_mm.analysis import weight_rules
from luminet_mm.analysis.weight_rules import (
    RULES,
    load_all,
    measure,
    weight_at_share,
    weights_by_rule,
)

PLACES = {
    'layer': 'backbone.layer4',
    'network': 'backbone',
    'signal': 'head.fc.bias',  # of one image: the gradient of the logits
}


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def distiller(weight='auto'):
    return tiny_cls.distiller(
        loss_kd=dict(
            type='luminet_mm.KDLoss',
            signal='logits',
            tau=4.0,
            loss_weight=weight,
        )
    )


def test_each_rule_makes_its_measure_equal():
    batch = tiny_cls.batch(num_images=1)
    found = weights_by_rule(
        tiny_cls.build(distiller()),
        [batch],
        {'loss_kd': PLACES['layer']},
        module='head',
    )['loss_kd']
    assert set(found) == set(RULES)
    model = tiny_cls.build(distiller(weight=1.0))
    data = model.data_preprocessor(batch, True)
    losses = model.loss(data['inputs'], data['data_samples'])
    sizes = {'value': [losses[k].item() for k in ('loss_cls', 'loss_kd')]}
    for rule, place in PLACES.items():
        parameters = [
            p for name, p in model.named_parameters() if name.startswith(place)
        ]
        sizes[rule] = [
            torch.cat(
                [
                    each.flatten()
                    for each in torch.autograd.grad(
                        losses[key], parameters, retain_graph=True
                    )
                ]
            ).norm()
            for key in ('loss_cls', 'loss_kd')
        ]
    for rule, (own, loss) in sizes.items():
        # other orders of sums: 1e-6; another rule's weight is 10 % off
        assert float(own / loss) == pytest.approx(found[rule], rel=1e-3), rule


def test_a_share_is_of_all_batches():
    inside = torch.tensor([True, False, False])
    batches = [
        (torch.tensor([1.0, 8.0, -1.0]), torch.tensor([1.0, 0.0, 0.0])),
        (torch.tensor([-1.0, 2.0, 7.0]), torch.tensor([-2.0, 0.0, 0.0])),
    ]
    weight = weight_at_share(batches, inside, target=0.3)
    shares = [
        (1 + weight) / (10 + weight),
        (1 + 2 * weight) / (10 + 2 * weight),
    ]
    assert sum(shares) / 2 == pytest.approx(0.3, rel=2e-3)
    assert weight_at_share(batches, inside, target=0.09) == 0
    outside = [(own, loss.roll(1)) for own, loss in batches]
    assert math.isinf(weight_at_share(outside, inside, target=0.2))


def test_a_grid_is_printed_and_written(tmp_path, monkeypatch, capsys):
    Config(
        dict(
            model=distiller(),
            default_scope='mmpretrain',
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                dataset=dict(type='x'),
                sampler=dict(type='DefaultSampler', shuffle=True),
            ),
        )
    ).dump(tmp_path / 'kd.py')
    (tmp_path / 'grid.py').write_text(
        'runs = dict('
        'kd=dict(config="kd.py", seeds=[0, 1]),'
        'other=dict(config="kd.py", seeds=[0],'
        ' options={"model.distill.loss_kd.tau": 2.0}))'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        weight_rules.Runner,
        'build_dataloader',
        lambda *args, **kwargs: [tiny_cls.batch() for _ in range(3)],
    )
    monkeypatch.setitem(weight_rules.LAYERS, 'logits', PLACES['layer'])
    weight_rules.main(
        ['grid.py', '--steps', '2', '--only', 'kd', '--json', 'found.json']
    )
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if 'loss_kd' in line]
    written = json.loads((tmp_path / 'found.json').read_text())
    weights = written['kd']['loss_kd']
    assert row.split()[2:] == [f'{weights[rule]:.3g}' for rule in RULES]


def test_a_signal_without_a_known_layer_is_refused():
    cfg = Config(dict(model=distiller(), default_scope='mmpretrain'))
    with pytest.raises(ValueError, match="no layer is known for 'logits'"):
        measure(cfg, steps=1, checkpoint=None)


def test_connectors_that_were_not_trained_are_refused(tmp_path):
    """A student's checkpoint knows nothing of a loss's connectors."""
    cfg = distiller()
    cfg['distill']['loss_hint'] = dict(
        type='luminet_mm.FitNetLoss',
        signal='feats',
        connector='linear',
        loss_weight='auto',
    )
    model = tiny_cls.build(cfg)
    whole, student = tmp_path / 'whole.pth', tmp_path / 'student.pth'
    state = model.state_dict()
    torch.save(dict(state_dict=state), whole)
    own = {k: v for k, v in state.items() if not k.startswith('distill.')}
    torch.save(dict(state_dict=own), student)
    load_all(model, str(whole))
    with pytest.raises(ValueError, match='student.pth: it has no distill'):
        load_all(model, str(student))
