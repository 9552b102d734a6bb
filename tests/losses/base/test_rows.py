"""SRD and VkD on a transformer's tokens: the mean of the patches' is a row."""

import pytest
import torch
from goldens import golden_cases, golden_inputs, golden_state
from torch import nn

from luminet_mm.losses import SRDLoss, VkDLoss

LOSSES = {
    'srd': (SRDLoss, {}),
    'srd_correlation': (SRDLoss, {'form': 'correlation'}),
    'srd_mlp': (SRDLoss, {'connector': {'type': 'mlp', 'hidden': 3}}),
    'vkd': (VkDLoss, {}),
}
every = pytest.mark.parametrize('name', LOSSES)


def make(name, **options):
    cls, settings = LOSSES[name]
    torch.manual_seed(0)
    return cls(**settings, **options)


def features(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in shapes
    ]


@every
@pytest.mark.parametrize('extra', [0, 1, 2, 3])
def test_tokens_are_the_mean_of_the_patches(name, extra):
    tokens, maps = features((6, extra + 9, 4), (6, 7, 3, 3))
    tokens.requires_grad_()
    loss = make(name, extra_tokens=extra).build(tokens, maps).double()
    value = loss(tokens, maps)
    torch.testing.assert_close(
        value, loss(tokens[:, extra:].mean(dim=1), maps.mean(dim=(2, 3)))
    )
    value.backward()
    # class and distillation token learn elsewhere, patches all alike
    assert not tokens.grad[:, :extra].any()
    patches = tokens.grad[:, extra:]
    assert patches.any()
    torch.testing.assert_close(patches, patches[:, :1].expand_as(patches))


@every
def test_connectors_are_those_of_vectors(name):
    tokens, maps = features((6, 11, 4), (6, 7, 3, 3))
    ours, theirs = tokens.mean(dim=1), maps.mean(dim=(2, 3))
    one = make(name, extra_tokens=2).build(tokens, maps).state_dict()
    other = make(name).build(ours, theirs).state_dict()
    assert list(one) == list(other) and one
    assert all(one[key].equal(other[key]) for key in one)


@every
def test_a_transformer_may_teach(name):
    student, teacher = features((6, 11, 4), (6, 5, 7))
    loss = make(name, extra_tokens=[2, 1]).build(student, teacher).double()
    torch.testing.assert_close(
        loss(student, teacher),
        loss(student[:, 2:].mean(dim=1), teacher[:, 1:].mean(dim=1)),
    )


@pytest.mark.parametrize(
    'case',
    [
        c
        for c in golden_cases('srd')
        if c.values[0]['params']['form'] == 'correlation'
    ],
)
def test_golden_of_deit_from_tokens(case):
    """Tokens around the recorded means give the recorded value."""
    student, teacher = golden_inputs(case, 'student_feat', 'teacher_feat')
    offsets = torch.linspace(-1, 1, 5).double()[:, None]
    tokens = student[:, None] + offsets * torch.ones_like(student[:1])
    tokens = torch.cat([100 + tokens[:, :2], tokens], dim=1)
    maps = teacher[:, :, None, None] + offsets
    params = case['params']
    loss = SRDLoss(
        form='correlation',
        exponent=params['exponent'],
        eps=params['bn_eps'],
        log_eps=params['log_eps'],
        extra_tokens=2,
    )
    loss.build(tokens, maps).double()
    state = golden_state(case, 'projector')
    loss.connectors[0].load_state_dict({'weight': state['weight']})
    torch.testing.assert_close(
        loss(tokens, maps).item(), case['expected']['loss'], rtol=1e-7, atol=0
    )


@every
def test_half_precision_is_averaged_in_float32(name):
    tokens, maps = features((6, 11, 4), (6, 7, 3, 3))
    tokens, maps = tokens.bfloat16(), maps.bfloat16()
    loss = make(name, extra_tokens=2).build(tokens, maps)
    exact = loss(tokens.float(), maps.float())
    assert loss(tokens, maps).equal(exact)


@every
def test_tokens_need_the_number_of_extra_ones(name):
    tokens, maps = features((6, 11, 4), (6, 7, 3, 3))
    with pytest.raises(ValueError, match=r"student's .*; set extra_tokens"):
        make(name).build(tokens, maps)
    with pytest.raises(ValueError, match='extra_tokens=11 leaves no patch'):
        make(name, extra_tokens=11).build(tokens, maps)
    with pytest.raises(ValueError, match='equally many on both sides'):
        make(name, extra_tokens=2, rows='positions').build(tokens, maps)


@pytest.mark.parametrize('value', [-1, 1.5, '2', [1], [1, -1], [1, 2, 3]])
def test_bad_options_are_named(value):
    for cls in (SRDLoss, VkDLoss):
        message = f'{cls.__name__}: extra_tokens is .*; set a whole number'
        with pytest.raises(ValueError, match=message):
            cls(extra_tokens=value)


def test_a_projector_is_trained_with_the_tokens():
    tokens, maps = features((16, 6, 4), (16, 7, 2, 2))
    tokens = nn.Parameter(tokens)
    loss = make('srd_correlation', extra_tokens=2).build(tokens, maps).double()
    optimizer = torch.optim.Adam([tokens, *loss.parameters()], lr=0.05)
    values = []
    for _ in range(40):
        value = loss(tokens, maps)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0] - 1
