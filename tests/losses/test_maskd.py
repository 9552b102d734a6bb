"""MasKD equals the authors' code, and asks for its first stage."""

import copy

import pytest
import torch
from goldens import assert_golden_grads, golden_cases, golden_state
from losses.contracts import FeatureContract
from losses.contracts.feature import MAPS

from luminet_mm.losses import MasKDLoss, maskd_loss
from luminet_mm.losses.base import avatar

CASES = [
    case
    for case in golden_cases('maskd') + golden_cases('avatarkd')
    if case.values[0]['params'].get('stage') == 'distill'
    or case.values[0]['params'].get('base') == 'maskd'
]


class TestMasKD(FeatureContract):
    loss = MasKDLoss
    options = {'masks': 'random'}
    shapes = MAPS


class TestAvatarOfMasKD(FeatureContract):
    loss = MasKDLoss
    options = {'masks': 'random', 'avatar': 0.0}  # nothing is drawn
    shapes = MAPS

    @classmethod
    def biases_without_effect(cls, loss):
        """The student's maps are normalised behind the connectors."""
        return {k for k, _ in loss.named_parameters() if k.endswith('bias')}


def levels(case, name):
    return [
        torch.tensor(each, dtype=torch.float64)
        for each in case['inputs'][name]
    ]


def save(path, state):
    """A checkpoint of the first stage."""
    weights = {f'masks.{key}': value for key, value in state.items()}
    torch.save(dict(state_dict=weights, meta={}), path)
    return str(path)


@pytest.mark.parametrize('case', CASES)
def test_golden(case, tmp_path, monkeypatch):
    """hunto/MasKD b5af34f and Gumpest/AvatarKD f8f8f35."""
    options = case['params']
    if 'drop_masks' in case['inputs']:
        kept = iter(levels(case, 'drop_masks'))
        monkeypatch.setattr(avatar, 'draw_kept', lambda *_: next(kept))
    loss = MasKDLoss(
        masks=save(tmp_path / 'a.pth', golden_state(case, 'mask_modules')),
        student_masks=options['custom_mask'],
        loss_weight=options['loss_weight'],
        avatar=options.get('drop_rate'),
        connector=None,
    )
    student = [f.requires_grad_() for f in levels(case, 'student_feats')]
    teacher = levels(case, 'teacher_feats')
    loss.build(student, teacher).double()
    assert not list(loss.parameters())
    assert_golden_grads(
        loss(student, teacher), case, {'student_feats': student}
    )


def test_masks_of_nothing_are_finite():
    """A token that sees no position at all."""
    student = torch.rand(1, 3, 2, 2, requires_grad=True)
    masks = torch.zeros(1, 2, 2, 2)
    loss = maskd_loss(student, torch.rand(1, 3, 2, 2), masks)
    loss.backward()
    assert loss == 0
    assert student.grad.isfinite().all()


def maps(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(2, 4, 5, 5, generator=generator)]


def test_the_students_masks_join_after_the_warmup():
    """And a resumed run counts on."""
    torch.manual_seed(0)
    plain = MasKDLoss(masks='random', student_masks=False, connector=None)
    plain.build(maps(), maps(1))
    options = dict(masks='random', connector=None)
    late, both = MasKDLoss(warmup=2, **options), MasKDLoss(**options)
    for loss in (late, both):
        loss.build(maps(), maps(1))
        loss.mask_modules.load_state_dict(plain.mask_modules.state_dict())
    alone, joined = plain(maps(), maps(1)), both(maps(), maps(1))
    assert alone != joined
    values = [late(maps(), maps(1)) for _ in range(2)]
    resumed = copy.deepcopy(late)
    resumed.load_state_dict(late.state_dict())
    assert values == [alone, alone]
    assert late(maps(), maps(1)) == resumed(maps(), maps(1)) == joined


@pytest.mark.parametrize(
    ('masks', 'message'),
    [
        (None, 'masks is None, not a file.*Learn them first'),
        ('', 'Learn them first, as configs/maskd/masks_frcnn_r101_coco.py'),
        ('gone.pth', 'gone.pth does not exist. Learn them first'),
    ],
)
def test_a_missing_first_stage_is_named(masks, message):
    with pytest.raises(ValueError, match=message):
        MasKDLoss(masks=masks)


def test_masks_of_another_detector_are_refused(tmp_path):
    case = CASES[0].values[0]
    path = save(tmp_path / 'a.pth', golden_state(case, 'mask_modules'))
    with pytest.raises(ValueError, match='no tokens of 4 channels for level'):
        MasKDLoss(masks=path).build(maps(), maps(1))
    torch.save(dict(state_dict={'backbone.w': torch.ones(1)}), path)
    with pytest.raises(ValueError, match='found: none.*Learn them first'):
        MasKDLoss(masks=path).build(maps(), maps(1))


def test_levels_have_their_own_masks(tmp_path):
    case = CASES[0].values[0]
    state = golden_state(case, 'mask_modules')
    path = save(tmp_path / 'a.pth', state)
    feats = levels(case, 'teacher_feats')
    for level in (1, -1):
        loss = MasKDLoss(masks=path, levels=[level], connector=None)
        loss.build(feats, feats)
        (module,) = loss.mask_modules
        torch.testing.assert_close(module.mask_token, state['1.mask_token'])
