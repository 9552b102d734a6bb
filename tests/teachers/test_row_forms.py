"""Forms of rows: sizes, how far off they are, and what losses make of them."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from luminet_mm.losses import DISTLoss, KDLoss, LumiNetLoss
from luminet_mm.teachers.row_forms import FormError, RowForm, is_form, top_of


def logits(rows=64, classes=100, seed=0):
    """A teacher's and a student's, as spread out as those of ImageNet."""
    rng = np.random.default_rng(seed)
    teacher = rng.normal(size=(rows, classes)) * 2
    teacher[np.arange(rows), rng.integers(classes, size=rows)] += 12
    student = teacher / 2 + rng.normal(size=(rows, classes))
    return teacher.astype('f4'), torch.tensor(student, dtype=torch.float32)


def back(name, values):
    form = RowForm(name, values.shape[1])
    stored = form.pack(values)
    assert stored.shape == (len(values), form.columns)
    assert stored.dtype == form.dtype
    assert stored[0].nbytes == form.nbytes
    assert form.whole(stored).all()
    found = form.unpack(stored)
    assert found.dtype == np.float32
    return found


def test_names():
    assert all(map(is_form, ('float32', 'float16', 'int8', 'top1', 'top10')))
    for name in ('int4', 'top', 'top0', 'top-1', 'top1000000', '', 8, None):
        assert not is_form(name)
    assert top_of('top25') == 25 and top_of('float32') == 0


@pytest.mark.parametrize(
    ('name', 'size'),
    [('float32', 4000), ('float16', 2000), ('int8', 1004), ('top10', 44)],
)
def test_bytes_of_a_view_of_a_thousand_classes(name, size):
    """The bounds of the issue: 1.01 kB, and 45 B at k = 10."""
    values = np.zeros((3, 1000), 'f4')
    form = RowForm(name, 1000)
    assert form.nbytes == size == form.pack(values).nbytes / 3


def test_floats_come_back():
    values, _ = logits()
    np.testing.assert_array_equal(back('float32', values), values)
    np.testing.assert_allclose(back('float16', values), values, rtol=5e-4)


def test_int8_is_within_half_a_step():
    values, _ = logits()
    off = np.abs(back('int8', values) - values).max(1)
    assert (off <= np.ptp(values, axis=1) / 508 * 1.01 + 1e-3).all()


@pytest.mark.parametrize('top', [1, 3, 10, 99])
def test_the_largest_have_their_probabilities_and_the_others_the_rest(top):
    values, _ = logits()
    exact = F.softmax(torch.tensor(values).double(), 1)
    found = torch.tensor(back(f'top{top}', values)).double().exp()
    torch.testing.assert_close(
        found.sum(1), torch.ones(len(values)).double(), atol=2e-3, rtol=0
    )
    kept, which = exact.topk(top)
    torch.testing.assert_close(
        found.gather(1, which), kept, rtol=1e-2, atol=1e-9
    )
    mask = torch.ones_like(exact, dtype=torch.bool).scatter(1, which, False)
    others = found[mask].view(len(values), -1)
    assert (others == others[:, :1]).all(), 'equal shares'
    torch.testing.assert_close(
        others.sum(1),
        exact[mask].view(len(values), -1).sum(1),
        rtol=1e-5,
        atol=1e-12,
    )


def test_a_sure_teacher_has_a_small_rest_and_not_none():
    """In float32, 1 - p would be 0."""
    values = np.full((1, 1000), -40.0, 'f4')
    values[0, 7] = 40
    found = back('top1', values)
    assert found[0, 7] == 0
    np.testing.assert_allclose(found[0, 0], -80, rtol=1e-5)


def test_equal_logits():
    values = np.zeros((2, 50), 'f4')
    np.testing.assert_allclose(back('top5', values), -np.log(50), rtol=1e-3)
    np.testing.assert_array_equal(back('int8', values), values)


@pytest.mark.parametrize('name', ['float32', 'float16', 'int8', 'top2'])
def test_what_is_not_written_or_not_finite_is_not_whole(name):
    form = RowForm(name, 5)
    fill = np.nan if form.plain else 0xFF
    empty = np.full((2, form.columns), fill, form.dtype)
    assert not form.whole(empty).any()
    values = np.ones((2, 5), 'f4')
    values[0, 3] = np.nan
    assert form.whole(form.pack(values)).tolist() == [False, True]


def test_infinite_logits():
    values = np.array([[np.inf, 0, 1], [2, 3, 4]], 'f4')
    assert RowForm('top1', 3).whole(
        RowForm('top1', 3).pack(values)
    ).tolist() == [False, True]
    with pytest.raises(FormError, match='logits: numbers are infinite'):
        RowForm('int8', 3).pack(values)


def test_a_class_that_is_not_there_is_damage():
    form = RowForm('top2', 5)
    stored = form.pack(np.arange(5, dtype='f4')[None])
    stored.view(form.item)['classes'] = 5
    assert not form.whole(stored).any()


@pytest.mark.parametrize(
    ('name', 'classes', 'message'),
    [
        ('int4', 10, "'int4' is not float32, float16, int8, or topK"),
        ('top10', 10, 'top10 of 10 classes would leave none out; take int8'),
        ('top5', 70_000, 'top5 can name 65536 classes, not 70000'),
    ],
)
def test_forms_that_are_not(name, classes, message):
    with pytest.raises(FormError, match=message):
        RowForm(name, classes)


# -- what the losses make of it ----------------------------------------------


def gradient(loss, student, teacher):
    student = student.clone().requires_grad_()
    loss(student, torch.tensor(teacher)).backward()
    return student.grad


def apart(one, other):
    """The length of the difference, in lengths of the first."""
    return float((one - other).norm() / one.norm())


@pytest.mark.parametrize(
    ('loss', 'bound'),
    [
        (KDLoss(tau=1.0), 0.004),
        (KDLoss(tau=4.0), 0.012),
        (LumiNetLoss(tau=2.0), 0.035),
        (DISTLoss(), 0.02),
    ],
    ids=['kd1', 'kd4', 'luminet', 'dist'],
)
def test_gradients_on_int8_rows(loss, bound):
    """By the length of the difference to those on float32.

    The second bound says what the first one separates: int4, sixteen times
    as coarse, and rows that are shifted by one class.
    """
    teacher, student = logits()
    exact = gradient(loss, student, teacher)
    assert apart(exact, gradient(loss, student, back('int8', teacher))) < bound
    step = np.ptp(teacher, axis=1, keepdims=True) / 14
    coarse = np.rint(teacher / step) * step
    for wrong in (coarse, np.roll(teacher, 1, 1)):
        assert apart(exact, gradient(loss, student, wrong)) > 4 * bound


def test_gradient_of_kd_on_the_largest():
    """Nearer than without the others' share, and than at another tau."""
    teacher, student = logits()
    loss = KDLoss(tau=1.0)
    exact = gradient(loss, student, teacher)
    stored = back('top10', teacher)
    found = apart(exact, gradient(loss, student, stored))
    lost = np.where(stored == stored.min(1, keepdims=True), -1e4, stored)
    assert found < 0.02 < apart(exact, gradient(loss, student, lost))
    hot = KDLoss(tau=4.0)
    exact = gradient(hot, student, teacher)
    assert apart(exact, gradient(hot, student, stored)) > 0.1
