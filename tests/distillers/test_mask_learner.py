"""MaskLearner: masks of a frozen detector, which MasKD reads."""

import pytest
import tiny
import tiny_dense
import torch
from mmengine.optim import build_optim_wrapper

from luminet_mm.losses.base.masks import MaskModule


def learner(detector=None, **options):
    teacher = dict(
        config=dict(model=detector or tiny.detector()), checkpoint=None
    )
    return tiny.build(
        dict(type='luminet_mm.MaskLearner', teacher=teacher, **options)
    )


def test_masks_learn_and_the_detector_stays():
    model = learner(num_tokens=3)
    before = {k: v.clone() for k, v in model.detector.state_dict().items()}
    started = {k: v.clone() for k, v in model.state_dict().items()}
    assert all(key.startswith('masks.') for key in started)
    cfg = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.01))
    optim = build_optim_wrapper(model, cfg)
    logged = model.train_step(tiny.batch(), optim)
    assert {'loss_rpn_cls', 'loss_cls', 'loss_dice'} <= set(logged)
    for key, value in model.detector.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not model.detector.training
    # the last level has no RoIs, but anchors
    for key, value in model.state_dict().items():
        assert value.ne(started[key]).any(), key


def test_the_loss_is_the_detectors_through_the_masks():
    model = learner(num_tokens=2, weighted=False, dice_weight=0.5)
    data = model.data_preprocessor(tiny.batch(), True)
    with torch.no_grad():
        for each in model.masks:
            each.mask_token.zero_()  # masks of 0.5, which add up to 1
    torch.manual_seed(0)
    found = model(**data, mode='loss')
    torch.manual_seed(0)
    wanted = model.detector(**data, mode='loss')
    levels = len(model.masks)
    assert found.pop('loss_dice').item() == pytest.approx(0.5 * levels)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize('kind', ['retinanet', 'gfl'])
def test_one_stage_detectors(kind):
    model = learner(tiny_dense.detector(kind))
    data = model.data_preprocessor(tiny.batch(), True)
    losses = model(**data, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(p.grad is not None for p in model.masks.parameters())


def test_it_predicts_through_the_masks():
    model = learner()
    found = model.val_step(tiny.batch())
    assert len(found) == 2


def test_maskd_reads_what_was_learned(tmp_path):
    model = learner(num_tokens=3)
    path = str(tmp_path / 'masks.pth')
    torch.save(dict(state_dict=model.state_dict()), path)
    distiller = tiny.build(
        tiny.distiller(
            teacher=tiny.detector(),
            loss_maskd=dict(
                type='luminet_mm.MasKDLoss', signal='neck', masks=path
            ),
        )
    )
    read = distiller.distill['loss_maskd'].mask_modules
    for key, value in model.masks.state_dict().items():
        assert torch.equal(value, read.state_dict()[key]), key
    losses, _ = tiny.step(distiller)
    assert losses['loss_maskd'].isfinite()


def test_it_follows_to_another_type():
    model = learner().double()
    assert model.masks[0].mask_token.dtype == torch.float64
    assert next(model.detector.parameters()).dtype == torch.float64
    assert isinstance(model.masks[0], MaskModule)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(teacher=dict(config='a.py')), 'give the config and the checkp'),
        (dict(num_tokens=0), 'num_tokens: 0; set a whole number'),
        (dict(dice_weight=-1), 'dice_weight: -1'),
    ],
)
def test_wrong_options_are_named(options, message):
    teacher = dict(config=dict(model=tiny.detector()), checkpoint=None)
    cfg = dict(type='luminet_mm.MaskLearner', teacher=teacher)
    with pytest.raises(ValueError, match=message):
        tiny.build({**cfg, **options})
