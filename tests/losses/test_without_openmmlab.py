"""docs/losses-without-openmmlab.md: its loop, mixed precision, DDP."""

import contextlib
import io
import re
from functools import cache
from pathlib import Path

import pytest
import torch

from luminet_mm.losses import LumiNetLoss

PAGE = Path(__file__).parents[2] / 'docs' / 'losses-without-openmmlab.md'
EPOCHS = 'range(20)'


def blocks():
    return re.findall(r'```python\n(.*?)```', PAGE.read_text('utf-8'), re.S)


def run(code, names):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, PAGE.name, 'exec'), names)
    return said.getvalue()


@cache
def loop(epochs=8):
    """The names of the first block, after fewer epochs than its 20."""
    code = blocks()[0]
    assert code.count(EPOCHS) == 2
    names = {'__name__': 'page'}
    with torch.random.fork_rng():
        names['said'] = run(code.replace(EPOCHS, f'range({epochs})'), names)
    return names


def test_the_student_learns_and_the_teacher_does_not():
    names = loop()
    history = names['history']
    assert len(history) == 8 * 22
    assert history[-1] < 0.7 * history[0]
    assert re.fullmatch(
        r'loss \d+\.\d\d at first, \d+\.\d\d at last\n'
        r'teacher 0\.\d+, student 0\.\d+\n',
        names['said'],
    )
    model = names['model']
    assert list(model.fitnet.parameters())
    assert all(p.grad.any() for p in model.student.parameters())
    assert model.fitnet.connectors[0][0].weight.grad.any()
    assert set(names['weights']) == set(names['student'].state_dict())


def test_the_losses_have_a_say():
    """The gradient of the student is not that of cross entropy alone."""
    names = loop()
    model, (x, y) = names['model'], [t[:64] for t in names['training']]
    with torch.no_grad():
        targets = names['teacher'](x)
    whole, alone = (
        torch.autograd.grad(loss, model.student.stages[0].weight)[0]
        for loss in (
            model(x, y, *targets),
            torch.nn.functional.cross_entropy(model.student(x)[0], y),
        )
    )
    assert (whole - alone).abs().max() > 0.1 * alone.abs().max()


def test_mixed_precision():
    names = dict(loop())
    before = names['student'].head.weight.detach().clone()
    run(blocks()[1], names)
    assert names['teacher_logits'].dtype == torch.bfloat16
    assert names['loss'].dtype == torch.float32
    assert not torch.equal(before, names['student'].head.weight)


def on_rank(rank, world_size):
    """A step of DDP on uneven parts: LumiNet's values, all gradients."""
    names = dict(loop(1))
    run(blocks()[2], names)
    model = names['model']
    whole = [t[:50] for t in names['training']]
    mine = slice(0, 32) if rank == 0 else slice(32, 50)
    with torch.no_grad():
        targets = names['teacher'](whole[0])
    x, y = (t[mine] for t in whole)
    model(x, y, *(t[mine] for t in targets)).backward()
    student = names['student']
    with torch.no_grad():
        logits = student(whole[0])[0]
        share = model.module.luminet(logits[mine], targets[0][mine])
        alone = LumiNetLoss(loss_weight=2.0, sync_stats=False)
        alone.schedule_factor = model.module.luminet.schedule_factor
        value = alone(logits, targets[0])
    return share, value, [p.grad for p in model.parameters()]


@pytest.mark.two_ranks(run=on_rank)
def test_ddp(two_ranks):
    (one, whole, ours), (two, _, theirs) = two_ranks
    torch.testing.assert_close((one + two) / 2, whole)
    assert abs(one - two) > 1e-3
    torch.testing.assert_close(ours, theirs)
    assert len(ours) == len(list(loop(1)['model'].parameters()))
    assert ours[0].any() and ours[-1].any()


def test_openmmlab_is_named_nowhere_in_the_code():
    for code in blocks():
        assert not re.search(r'\bmm(det|cv|engine|pretrain)\b|\btype=', code)
