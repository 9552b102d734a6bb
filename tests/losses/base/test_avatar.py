"""AvatarKD equals the authors' code around CWD and MGD; its statistics."""

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_state
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS

from luminet_mm.losses import CWDLoss, MGDLoss, mgd
from luminet_mm.losses.base import avatar
from luminet_mm.losses.base.avatar import make_avatar, normalized

CASES = golden_cases('avatarkd')
DRAWN = [case for case in CASES if 'base' in case.values[0]['params']]


class TestAvatarOfCWD(FeatureContract):
    loss = CWDLoss
    options = {'avatar': 0.0, 'connector': 'linear'}  # nothing is drawn
    shapes = MAPS

    @classmethod
    def biases_without_effect(cls, loss):
        """The student's maps are normalised behind the connectors."""
        return {k for k, _ in loss.named_parameters() if k.endswith('bias')}


class TestAvatarOfMGD(FeatureContract):
    loss = MGDLoss
    options = {'avatar': 0.0, 'mask_ratio': 0.0}
    shapes = MAPS


def levels(case, name):
    return [
        torch.tensor(each, dtype=torch.float64)
        for each in case['inputs'][name]
    ]


def build(case):
    """The loss of a case, and its weights by the case's names."""
    options = case['params']
    rate = options['drop_rate']
    if options['base'] == 'cwd':
        weight = options['loss_weight']
        loss = CWDLoss(avatar=rate, tau=options['tau'], loss_weight=weight)
        return loss, {}
    student, teacher = (
        levels(case, f'{side}_feats') for side in ('student', 'teacher')
    )
    loss = MGDLoss(
        avatar=rate,
        loss_weight=options['alpha_mgd'],
        mask_ratio=options['lambda_mgd'],
    )
    loss.build(student, teacher).double()
    state = golden_state(case, 'generators')
    ours = {f'generators.{k.replace("generation.", "")}': k for k in state}
    loss.load_state_dict({k: state[theirs] for k, theirs in ours.items()})
    weights = {ours[k]: p for k, p in loss.named_parameters()}
    return loss, {'generators': weights}


@pytest.mark.parametrize(
    'case',
    [case for case in DRAWN if case.values[0]['params']['base'] != 'maskd'],
)
def test_golden(case, monkeypatch):
    """Gumpest/AvatarKD f8f8f35, for given draws."""
    kept = iter(levels(case, 'drop_masks'))
    monkeypatch.setattr(avatar, 'draw_kept', lambda *_: next(kept))
    if 'mgd_masks' in case['inputs']:
        masks = iter(levels(case, 'mgd_masks'))
        monkeypatch.setattr(mgd, 'draw_mask', lambda *_: next(masks))
    loss, weights = build(case)
    student = [f.requires_grad_() for f in levels(case, 'student_feats')]
    value = loss(student, levels(case, 'teacher_feats'))
    assert_golden_grads(value, case, {'student_feats': student}, weights)


@pytest.mark.parametrize(
    'case', [case for case in CASES if 'mean' in case.values[0]['expected']]
)
def test_golden_statistics(case):
    """Mean and variance over many draws, within five standard errors."""
    wanted, rate = case['expected'], case['params']['drop_rate']
    teacher = torch.tensor(case['inputs']['teacher_feat'])
    torch.manual_seed(0)
    draws = 20_000
    found = make_avatar(teacher.expand(draws, -1), rate)
    variance = torch.tensor(wanted['variance'])
    error = (variance / draws).sqrt()
    mean = torch.tensor(wanted['mean'])
    assert ((found.mean(dim=0) - mean).abs() <= 5 * error + 1e-6).all()
    torch.testing.assert_close(found.var(dim=0), variance, rtol=0.1, atol=1e-6)
    share = (found != 0)[:, teacher != 0].float().mean().item()
    assert share == pytest.approx(wanted['kept_fraction'], abs=0.01)


def test_normalized_is_batch_norm():
    maps = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    norm = torch.nn.BatchNorm2d(4, affine=False)
    torch.testing.assert_close(normalized(maps), norm(maps))


@pytest.mark.parametrize('kind', [CWDLoss, MGDLoss])
def test_each_step_draws_anew(kind):
    loss = kind(avatar=0.5, **({'mask_ratio': 0.0} if kind is MGDLoss else {}))
    maps = [torch.rand(2, 3, 4, 4)]
    loss.build(maps, maps)
    assert loss(maps, maps) != loss(maps, maps)


@pytest.mark.parametrize('kind', [CWDLoss, MGDLoss])
@pytest.mark.parametrize('rate', [1.0, -0.1, float('nan')])
def test_a_rate_that_is_no_share_is_refused(kind, rate):
    with pytest.raises(ValueError, match=f'{kind.__name__}: avatar is'):
        kind(avatar=rate)


def test_cwd_standardises_once():
    with pytest.raises(ValueError, match='Leave one of them out'):
        CWDLoss(avatar=0.1, standardize=True)
