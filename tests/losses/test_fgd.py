"""FGD: golden numbers, the masks of the objects, the context blocks."""

import pytest
import torch
from goldens import (
    assert_golden_grads,
    golden_cases,
    golden_inputs,
    golden_state,
)
from losses.contracts import FeatureContract
from losses.contracts.feature import PYRAMID, objects

from luminet_mm.losses import DistillBatch, FGDLoss, fgd_loss
from luminet_mm.losses.base.boxes import focal_masks, relative_boxes


class TestFGD(FeatureContract):
    loss = FGDLoss
    options = {
        'foreground': 1.0,
        'background': 0.5,
        'attention': 0.1,
        'relation': 0.01,
    }
    shapes = PYRAMID

    @classmethod
    def batch(cls, student, teacher):
        return objects(student)

    @classmethod
    def biases_without_effect(cls, loss):
        """A softmax over positions takes that of the mask out again."""
        return {
            key
            for key, _ in loss.named_parameters()
            if key.endswith('conv_mask.bias')
        }


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('case', golden_cases('fgd'))
def test_golden(case, legacy):
    student, teacher, boxes = golden_inputs(
        case, 'student_feat', 'teacher_feat', 'gt_boxes'
    )
    params = case['params']
    loss = FGDLoss(
        foreground=params['alpha_fg'],
        background=params['beta_bg'],
        attention=params['gamma_attention'],
        relation=params['lambda_relation'],
        tau=params['temperature'],
        legacy=legacy,
    )
    loss.build(student, teacher).double()
    state = golden_state(case, 'fgd')
    loss.load_state_dict({rename(k): v for k, v in state.items()})
    official = {rename(k): k for k in state}
    weights = {official[k]: p for k, p in loss.named_parameters()}
    shape = tuple(params['img_shape'])
    batch = DistillBatch(
        boxes=boxes, input_shape=shape, image_shapes=[shape] * len(boxes)
    )
    assert_golden_grads(
        loss(student, teacher, batch),
        case,
        {'student_feat': student},
        {'fgd': weights},
    )
    masks = focal_masks(relative_boxes(boxes, [shape] * 2), teacher)
    for mask, side in zip(masks, ('fg', 'bg'), strict=True):
        torch.testing.assert_close(
            mask, mask.new_tensor(case['expected'][f'mask_{side}'])
        )


def rename(key):
    """The official name of a weight as ours."""
    part, rest = key.split('.', 1)
    if part == 'align':
        return f'align.0.{rest}'
    block, side = part.rsplit('_', 1)
    whose = {'s': 'student', 't': 'teacher'}[side]
    return f'{whose}_context.0.{block}.{rest}'


def maps(seed=0, channels=4, rows=2, size=(8, 8)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(
        rows, channels, *size, generator=generator, dtype=torch.float64
    )


def test_padding_moves_the_boxes_only_in_legacy():
    """An image of half the batch's width, its object at its right edge."""
    box = torch.tensor([[16.0, 0.0, 32.0, 64.0]], dtype=torch.float64)
    batch = DistillBatch(
        boxes=[box], image_shapes=[(64, 32)], input_shape=(64, 64)
    )
    student, teacher = torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8)
    teacher[..., 6:] = 1  # beyond the image
    options = dict(background=0, attention=0, relation=0, tau=1e6)
    for legacy in (False, True):
        loss = FGDLoss(legacy=legacy, **options).build(student, teacher)
        assert bool(loss(student, teacher, batch) > 0) is legacy


def test_terms_are_separate():
    student, teacher = maps(), maps(1)
    masks = torch.rand(2, 2, 8, 8, dtype=torch.float64)
    contexts = student + 1, teacher
    names = ('foreground', 'background', 'attention', 'relation')

    def value(**weights):
        options = {**dict.fromkeys(names, 0.0), **weights}
        return fgd_loss(student, teacher, contexts, masks, **options)

    torch.testing.assert_close(
        value(**dict(zip(names, (1, 2, 3, 4), strict=True))),
        sum(i * value(**{name: 1}) for i, name in enumerate(names, 1)),
    )
    torch.testing.assert_close(
        value(relation=1), (student + 1 - teacher).square().sum() / 2
    )
    assert value() == 0


def test_attention_averages_to_1():
    """Flat attention leaves a plain squared distance."""
    student, teacher = maps(), torch.ones(2, 4, 8, 8, dtype=torch.float64)
    masks = torch.ones(2, 2, 8, 8, dtype=torch.float64)
    loss = fgd_loss(
        student,
        teacher,
        (student, teacher),
        masks,
        foreground=1,
        background=0,
        attention=0,
        relation=0,
    )
    torch.testing.assert_close(loss, (student - teacher).square().sum() / 2)


def test_the_context_starts_as_nothing():
    """As in GCNet: the last convolution is 0."""
    student, teacher = maps(), maps(1)
    loss = FGDLoss().build(student, teacher).double()
    torch.testing.assert_close(loss.student_context[0](student), student)
    torch.testing.assert_close(loss.teacher_context[0](teacher), teacher)


def test_parameters():
    student, teacher = [maps(), maps(channels=3)], [maps(), maps(channels=6)]
    loss = FGDLoss().build(student, teacher)
    align = sum(p.numel() for p in loss.align.parameters())
    assert align == 3 * 6 + 6
    blocks = sum(p.numel() for p in loss.parameters()) - align
    # mask, convolution, layer norm, convolution
    assert blocks == 2 * sum(
        (c + 1) + (c * c // 2 + c // 2) + c + (c * c // 2 + c) for c in (4, 6)
    )


def test_dead_maps_and_huge_ones_have_finite_gradients():
    batch = DistillBatch(
        boxes=[torch.tensor([[0.0, 0.0, 20.0, 20.0]])] * 2,
        input_shape=(64, 64),
    )
    for scale in (0, 1e4):
        student = (scale * maps().float()).requires_grad_()
        teacher = maps(1).float()
        loss = FGDLoss().build(student, teacher)
        loss(student, teacher, batch).backward()
        assert student.grad.isfinite().all()


def test_other_sizes_are_an_error():
    with pytest.raises(ValueError, match='equal rows and sizes'):
        FGDLoss().build(maps(), maps(size=(4, 4)))


def test_what_is_missing_is_named():
    student, teacher = maps(), maps(1)
    loss = FGDLoss().build(student, teacher).double()
    loss.name = 'model.distill.loss_fgd (roi.feats)'
    boxes = [torch.zeros(0, 4)] * 2
    with pytest.raises(ValueError, match=r'fgd \(roi.feats\): .*batch.boxes'):
        loss(student, teacher)
    with pytest.raises(ValueError, match='height and width'):
        loss(student, teacher, DistillBatch(boxes=boxes))
    loss.legacy = True
    with pytest.raises(ValueError, match='batch.image_shapes'):
        loss(student, teacher, DistillBatch(boxes=boxes))
    with pytest.raises(ValueError, match='batch.boxes has 1 images'):
        loss(student, teacher, DistillBatch(boxes=boxes[:1]))


@pytest.mark.parametrize(
    'key', ['foreground', 'background', 'attention', 'relation']
)
def test_bad_weights_are_named(key):
    with pytest.raises(ValueError, match=f'FGDLoss: {key} is -1'):
        FGDLoss(**{key: -1})


def test_bad_temperature_is_named():
    with pytest.raises(ValueError, match='FGDLoss: tau is 0'):
        FGDLoss(tau=0)
