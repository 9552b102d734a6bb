"""Weights that set themselves: measured at the signal, used at once."""

import copy
import math

import pytest
import tiny
import tiny_cls
import tiny_dense
import tiny_detr
import torch
from mmengine.optim import build_optim_wrapper

from luminet_mm.losses import KDLoss

LOSSES = dict(
    loss_kd=dict(
        type='luminet_mm.KDLoss', signal='roi.cls_score', loss_weight='auto'
    ),
    loss_fgd=dict(
        type='luminet_mm.FGDLoss',
        signal='neck',
        loss_weight=dict(share=0.5),
    ),
)


def detector(**losses):
    return tiny.build(tiny.distiller(**copy.deepcopy(losses or LOSSES)))


def at_signal(model, data, key, signal):
    """Norms of the gradients at a module's output, by hand."""
    kept = []
    hook = signal(model).register_forward_hook(
        lambda module, args, out: kept.append(out)
    )
    losses = model.loss(data['inputs'], data['data_samples'])
    hook.remove()
    leaves = list(kept[0]) if isinstance(kept[0], tuple) else [kept[0]]
    own = {k: v for k, v in losses.items() if k not in model.distill}
    own = {k: v for k, v in own.items() if not k.startswith('weight_')}
    norms = []
    for value in (losses[key], model.parse_losses(own)[0]):
        grads = torch.autograd.grad(
            value, leaves, retain_graph=True, allow_unused=True
        )
        total = sum(g.square().sum() for g in grads if g is not None)
        norms.append(total.sqrt())
    return norms, losses


@pytest.mark.parametrize(
    ('key', 'signal', 'share'),
    [
        ('loss_kd', lambda m: m.roi_head.bbox_head.fc_cls, 1.0),
        ('loss_fgd', lambda m: m.neck, 0.5),
    ],
)
def test_the_gradient_is_that_share_of_the_students_own(key, signal, share):
    model = detector(**{key: LOSSES[key]}).eval()
    data = tiny.prepared(model)
    (distill, own), losses = at_signal(model, data, key, signal)
    if key == 'loss_kd':
        torch.testing.assert_close(distill, share * own, rtol=1e-4, atol=0)
    else:  # FGD reads levels that no head of these boxes reads
        assert 0.2 < distill / own < 0.6
    name = key.replace('loss_', 'weight_')
    torch.testing.assert_close(losses[name], model.distill[key].loss_weight)


def test_each_loss_has_its_own_and_all_train():
    model = detector()
    optim = build_optim_wrapper(
        model,
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3)),
    )
    for _ in range(2):
        log = model.train_step(tiny.batch(), optim)
    assert log['weight_kd'] != log['weight_fgd']
    assert all(value.isfinite() for value in log.values())
    # what is logged is not trained
    own = [v for k, v in log.items() if 'loss' in k and k != 'loss']
    torch.testing.assert_close(log['loss'], sum(own), rtol=1e-4, atol=0)


def test_the_random_state_and_the_rest_of_the_step_stay():
    """With the weight that it finds, a fixed one trains the same."""
    kd = dict(LOSSES['loss_kd'])
    auto = detector(loss_kd=kd)
    data = tiny.prepared(auto)
    torch.manual_seed(3)
    losses = auto.loss(data['inputs'], data['data_samples'])
    kd['loss_weight'] = losses['weight_kd'].item()
    fixed = detector(loss_kd=kd)
    torch.manual_seed(3)
    again = fixed.loss(data['inputs'], data['data_samples'])
    assert set(losses) - set(again) == {'weight_kd'}
    torch.testing.assert_close(losses['loss_kd'], again['loss_kd'])
    for key in set(again) - {'loss_kd'}:
        for one, other in zip(
            *(
                x if isinstance(x, list) else [x]
                for x in (losses[key], again[key])
            )
        ):
            assert torch.equal(one, other), key


def test_a_schedule_multiplies_it():
    model = detector(loss_kd=LOSSES['loss_kd'])
    data = tiny.prepared(model)
    torch.manual_seed(3)
    whole = model.loss(data['inputs'], data['data_samples'])
    other = detector(loss_kd=LOSSES['loss_kd'])
    other.distill.loss_kd.schedule_factor = 0.25
    torch.manual_seed(3)
    part = other.loss(data['inputs'], data['data_samples'])
    torch.testing.assert_close(part['loss_kd'], whole['loss_kd'] / 4)
    torch.testing.assert_close(part['weight_kd'], whole['weight_kd'])
    other.distill.loss_kd.schedule_factor = 0.0
    off = other.loss(data['inputs'], data['data_samples'])
    assert off['loss_kd'] == 0 and 'weight_kd' not in off


def test_it_is_in_the_checkpoint():
    model = detector(loss_kd=LOSSES['loss_kd'])
    data = tiny.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    again = detector(loss_kd=LOSSES['loss_kd'])
    again.load_state_dict(model.state_dict())
    assert again.distill.loss_kd.loss_weight != 1
    assert torch.equal(
        again.distill.loss_kd.loss_weight, model.distill.loss_kd.loss_weight
    )


@pytest.mark.parametrize('kind', ['retinanet', 'gfl'])
def test_one_stage_detectors(kind):
    loss = tiny_dense.bckd(loss_weight='auto')
    sides = [tiny_dense.detector(kind) for _ in range(2)]
    model = tiny_dense.build(tiny_dense.distiller(*sides, loss_bckd=loss))
    data = tiny.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['weight_bckd'].isfinite() and losses['weight_bckd'] != 1


@pytest.mark.parametrize(
    'loss',
    [
        tiny_detr.matched(loss_weight='auto'),
        tiny_detr.shared(loss_weight='auto'),
        dict(type='luminet_mm.MGDLoss', signal='encoder', loss_weight='auto'),
    ],
    ids=lambda loss: loss['type'].removeprefix('luminet_mm.'),
)
def test_detrs(loss):
    model = tiny_detr.build(tiny_detr.distiller(loss_x=copy.deepcopy(loss)))
    data = tiny.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['weight_x'].isfinite() and losses['weight_x'] != 1


def test_anchors_of_an_rpn():
    loss = dict(
        type='luminet_mm.BinaryKDLoss',
        signal='rpn.objectness',
        loss_weight='auto',
    )
    model = detector(loss_x=loss)
    data = tiny.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['weight_x'].isfinite() and losses['weight_x'] != 1


def test_classifiers_in_half_precision():
    loss = dict(type='luminet_mm.KDLoss', signal='logits', loss_weight='auto')
    model = tiny_cls.build(tiny_cls.distiller(loss_kd=loss))
    data = model.data_preprocessor(tiny_cls.batch(), True)
    torch.manual_seed(0)
    exact = model.loss(data['inputs'], data['data_samples'])['weight_kd']
    model.distill.loss_kd = KDLoss(loss_weight='auto')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.loss(data['inputs'], data['data_samples'])
    # 8 bits of the logits
    torch.testing.assert_close(losses['weight_kd'], exact, rtol=0.1, atol=0)


def test_a_tap_of_a_copy_is_measured():
    """Signals by a dotted path are copied before a ReLU works in place."""
    loss = dict(type='luminet_mm.OFDLoss', loss_weight='auto')
    model = tiny_cls.build(
        tiny_cls.distiller(loss_x=dict(loss, signal='backbone.layer4.preact'))
    )
    data = tiny_cls.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['weight_x'].isfinite() and losses['weight_x'] != 1


# --- a temperature that is learned ---


def test_a_temperature_is_trained_scheduled_logged_and_saved(tmp_path):
    """Against the loss: it moves to where the loss is larger."""
    model = tiny_cls.distiller(
        loss_kd=dict(
            type='luminet_mm.KDLoss',
            signal='logits',
            tau=dict(start=0.1, end=1.0),
            loss_weight=10.0,
        )
    )
    hook = dict(
        type='luminet_mm.DistillScheduleHook',
        loss_kd=dict(
            part='temperature', warmup=2, unit='epoch', shape='cosine'
        ),
    )
    runner = tiny_cls.runner(model, tmp_path, custom_hooks=[hook])
    runner.train()
    logged = runner.message_hub.get_scalar('train/tau_kd').data[0]
    assert len(logged) == 8
    assert logged[0] == pytest.approx(0.1 + 1 / (1 + math.exp(-1)))
    assert logged[-1] != logged[0]
    loss = runner.model.distill['loss_kd']
    assert loss.part_factors['temperature'] == 1.0
    saved = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)
    raw = saved['state_dict']['distill.loss_kd.temperature.raw']
    assert torch.equal(raw, loss.temperature.raw)
    assert raw != 1
