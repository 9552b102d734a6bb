"""CrossKD: golden numbers of predictions that cross, and its options."""

import pytest
import tiny_dense
import torch
from goldens import golden_cases
from losses.contracts import DenseContract
from losses.temperature import assert_climbs, assert_same_for_the_student

from luminet_mm.losses import BCKDLoss, CrossKDLoss, DistillBatch, Points
from luminet_mm.losses.base.dense import DenseLoss


class Crossed(CrossKDLoss):
    """What comes once the student's maps have run through the head."""

    signals = ('cls_score', 'bbox_pred')
    forward = DenseLoss.forward

    def __init__(self, form='deltas', **options):
        super().__init__(**options)
        self.form = form


class TestDeltas(DenseContract):
    loss = Crossed
    options = {'beta': 1.5}
    test_is_registered_for_sigmoids_without_parameters = None


class TestDistances(TestDeltas):
    options = {'form': 'distances'}

    @classmethod
    def case(cls, seed=0, dtype=torch.float64):
        """Boxes that overlap: others have no gradient."""
        student, teacher, batch = super().case(seed, dtype)
        teacher[1] = [
            own + other / 4 for own, other in zip(student[1], teacher[1])
        ]
        return student, teacher, batch


class TestBins(TestDeltas):
    options = {'form': 'bins', 'tau': 2.0}
    widths = {'cls_score': 3, 'bbox_pred': 12}
    # boxes are divided by the sum of their weights
    test_twice_the_positives_halve_it = None
    test_levels_add_up = None


case = TestDeltas.case
FORMS = dict(retina='deltas', atss='deltas', fcos='distances', gfl='bins')
BOXES = dict(retina='deltas', atss='deltas', fcos='distances', gfl='dist')


def decode_deltas(anchors, deltas, stds):
    """Boxes of shifts and logarithms of sizes, relative to anchors."""
    deltas = deltas * deltas.new_tensor(stds)
    size = anchors[:, 2:] - anchors[:, :2]
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * size
    half = size * deltas[:, 2:].exp() / 2
    return torch.cat([centre - half, centre + half], dim=1)


def decoder(inputs, params):
    def decode(level, rows):
        if params['kind'] == 'fcos':
            points = inputs['points']
            low, high = points - rows[:, :2], points + rows[:, 2:]
            return torch.cat([low, high], dim=1)
        return decode_deltas(inputs['anchors'], rows, params['target_stds'])

    return decode


@pytest.mark.parametrize(
    'golden',
    [
        each
        for each in golden_cases('crosskd')
        if each.values[0]['params']['kind'] != 'align'
    ],
)
def test_golden(golden):
    params = golden['params']
    kind = params['kind']
    inputs = {
        key: torch.tensor(value, dtype=torch.float64)
        for key, value in golden['inputs'].items()
    }
    names = ['logits', BOXES[kind]] + ['centerness'] * (kind == 'atss')
    sides = [
        [
            [inputs[f'{side}_{name}'].view(len(inputs['teacher_logits']), -1)]
            for name in names
        ]
        for side in ('student', 'teacher')
    ]
    leaves = [levels[0].requires_grad_() for levels in sides[0]]
    rows, classes = leaves[0].shape
    number = torch.tensor(params['avg_factor'])
    points = Points(
        [inputs.get('labels', torch.zeros(rows)).long()],
        [inputs.get('label_weights', torch.ones(rows))],
        # FCOS divides by the sum of its centerness targets
        number if kind != 'fcos' else torch.tensor(1.0),
        decoder(inputs, params),
        centerness=(lambda: number) if kind == 'fcos' else None,
    )
    published = Crossed(FORMS[kind], tau=params.get('T', 1.0))
    assert published._weight(0, None) == params['cls_weight']
    assert published._weight(1, None) == params['box_weight']
    published.signals = CrossKDLoss.signals
    value = published(*sides, DistillBatch(points=points))
    # an eps of GIoU is added otherwise here, of order 1e-6
    near = dict(rtol=1e-5, atol=1e-6)
    expected = golden['expected']
    torch.testing.assert_close(
        value, value.new_tensor(expected['loss']), **near
    )
    for name, leaf, grad in zip(
        names, leaves, torch.autograd.grad(value, leaves)
    ):
        wanted = grad.new_tensor(expected['grad'][f'student_{name}'])
        torch.testing.assert_close(grad, wanted.view_as(leaf), **near)


def test_classes_are_those_of_bckd():
    student, teacher, batch = case()
    value = Crossed(box_weight=0.0)(student, teacher, batch)
    expected = BCKDLoss()(student[0], teacher[0], batch)
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(
    ('form', 'weights'),
    [('deltas', (1, 1)), ('distances', (0.4, 0.75)), ('bins', (1, 4))],
)
def test_weights_are_the_heads_published_ones_unless_set(form, weights):
    width = dict(widths=TestBins.widths) if form == 'bins' else {}
    kind = type('Case', (TestDeltas,), width)
    student, teacher, batch = kind.case()
    alone = [
        Crossed(form, cls_weight=c, box_weight=b)(student, teacher, batch)
        for c, b in ((1.0, 0.0), (0.0, 1.0))
    ]
    expected = weights[0] * alone[0] + weights[1] * alone[1]
    torch.testing.assert_close(
        Crossed(form)(student, teacher, batch), expected
    )


def test_nothing_that_counts_divides_by_nothing():
    """The sum of the weights of distributions may be 0."""
    student, teacher, batch = TestBins.case()
    batch.points.weights = [0 * each for each in batch.points.weights]
    value = Crossed('bins')(student, teacher, batch)
    assert value == 0


@pytest.mark.parametrize('form', ['deltas', 'distances', 'bins'])
def test_gradcheck(form):
    student, teacher, batch = (
        TestBins if form == 'bins' else TestDeltas
    ).case()
    boxes = [each.requires_grad_() for each in student[1]]
    assert torch.autograd.gradcheck(
        lambda *x: Crossed(form)([student[0], list(x)], teacher, batch), boxes
    )


def test_a_loss_that_has_read_no_head_says_so():
    with pytest.raises(ValueError, match='has not read the networks yet'):
        CrossKDLoss()([], [])


@pytest.mark.parametrize(
    'options',
    [
        dict(cls_weight=-1),
        dict(box_weight='x'),
        dict(center_weight=-1),
        dict(beta=-1),
        dict(tau=0),
    ],
)
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=f'CrossKDLoss: {[*options][0]} is'):
        CrossKDLoss(**options)


def test_the_temperature_of_distributions_can_be_learned():
    loss = TestBins.build(tau=dict(start=0.5, end=3.0)).double()
    assert_same_for_the_student(
        loss, lambda each: TestBins.gradients(each, *TestBins.case())
    )
    assert_climbs(loss, lambda each: each(*TestBins.case()))


def test_a_head_without_distributions_learns_no_temperature():
    model = tiny_dense.distiller(
        loss_crosskd=dict(
            type='luminet_mm.CrossKDLoss',
            signal=[
                'bbox_head.cls_convs.0.preact',
                'bbox_head.reg_convs.0.preact',
                *('cls_score', 'bbox_pred'),
            ],
            tau='learned',
        )
    )
    with pytest.raises(
        ValueError, match=r'only heads with .* \(GFL\) read it'
    ):
        tiny_dense.build(model)
