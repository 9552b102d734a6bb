"""The base of losses on logits: rows, columns and what it refuses.

What every loss on logits promises is in losses/contracts/logit.py.
"""

import pytest
import torch
from losses.contracts.logit import BACKGROUND, rows

from luminet_mm.losses import DistillBatch, KDLoss, LogitLoss


def test_a_matrix_product_inside_a_loss_is_float32_under_autocast():
    class Product(LogitLoss):
        def compute(self, student, teacher, row_weights, batch):
            return torch.mm(student, teacher.T).mean()

    student, teacher, batch = rows(dtype=torch.float32)
    expected = Product()(student, teacher, batch)
    with torch.autocast('cpu', torch.bfloat16):
        assert Product()(student, teacher, batch) == expected


def test_tiny_foreground_probabilities_keep_their_digits():
    """In float32, 1 - p would be exactly 0 below 6e-8."""
    student, teacher, batch = rows(dtype=torch.float32)
    teacher[:, BACKGROUND] += 30
    weights = KDLoss().row_weights(
        'rows', 'teacher_foreground', teacher, batch
    )
    exact = KDLoss().row_weights(
        'rows', 'teacher_foreground', teacher.double(), batch
    )
    assert exact.max() < 1e-8
    torch.testing.assert_close(weights.double(), exact, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        KDLoss(rows='teacher_foreground')(student, teacher, batch),
        KDLoss(rows='teacher_foreground')(
            student.double(), teacher.double(), batch
        ).float(),
    )


@pytest.mark.parametrize(
    ('options', 'field', 'text'),
    [
        ({'rows': 'foreground'}, 'labels', "rows='foreground'"),
        ({'rows': 'foreground'}, 'no_object', "rows='foreground'"),
        (
            {'rows': 'teacher_foreground'},
            'background',
            "rows='teacher_foreground'",
        ),
        ({'background': False}, 'background', 'background=False'),
        ({'added_gt': False}, 'added_gt', 'added_gt=False'),
    ],
)
def test_options_name_what_the_batch_lacks(options, field, text):
    student, teacher, batch = rows()
    setattr(batch, field, None)
    loss = KDLoss(**options)
    loss.name = 'loss_kd'
    with pytest.raises(ValueError, match=rf'loss_kd: {text} .*batch\.{field}'):
        loss(student, teacher, batch)


def test_shapes_must_agree():
    student, teacher, batch = rows()
    for bad in (teacher[:, :3], teacher[:3], teacher[None]):
        with pytest.raises(ValueError, match=r'KDLoss: .*\(8, 5\).*classes'):
            KDLoss()(student, bad, batch)
    with pytest.raises(ValueError, match=r'\(N, C\)'):
        KDLoss()(student[0], teacher[0], batch)
    with pytest.raises(ValueError, match=r'batch\.labels has shape \(3,\)'):
        KDLoss()(student, teacher, DistillBatch(labels=torch.arange(3)))
    with pytest.raises(ValueError, match=r'background is 5.* 5 columns'):
        KDLoss()(student, teacher, DistillBatch(background=5))


def test_signals_must_be_one_tensor():
    student, teacher, batch = rows()
    with pytest.raises(ValueError, match=r"the teacher's signal is a list"):
        KDLoss()(student, [teacher], batch)
