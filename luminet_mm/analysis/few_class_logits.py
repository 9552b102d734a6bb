"""Compare LumiNet's variants with few classes, on synthetic points.

Points are drawn from Gaussian modes; three in four are background, as in a
detector's sampled RoIs. A network classifies them into C classes and
background. The teacher is wide, the student has eight hidden units, and a loss
is judged by the student's average precision on unseen points. No boxes are
involved, so the result shows what the logits alone carry.

``python -m luminet_mm.analysis.few_class_logits --json OUT.json``
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.nn import functional

from luminet_mm.losses.kd import kd_loss
from luminet_mm.losses.luminet import luminet_loss

FEATURES, MODES = 12, 4  # per point, per class
TRAIN, VAL, TEACHER_TRAIN = 600, 4000, 20000  # points
BACKGROUND = 0.75  # of the points
WARMUP = 50  # steps
FORMS = {
    '': {},
    ', center_rows': dict(center_rows=True),
    ', shared_scale': dict(shared_scale=True),
    ', both': dict(center_rows=True, shared_scale=True),
}
Loss = Callable[[Tensor, Tensor], Tensor]


def losses() -> dict[str, Loss | None]:
    """The losses by name; None means labels alone."""

    def weighted(loss: Callable, weight: float, **options: object) -> Loss:
        return lambda student, teacher: (
            weight * loss(student, teacher, **options)
        )

    found: dict[str, Loss | None] = {'labels alone': None}
    for weight in (1.0, 4.0):
        found[f'KD, weight {weight:g}'] = weighted(kd_loss, weight, tau=1.0)
    for weight in (1.0, 4.0):
        for tau in (1.0, 0.5):
            for name, options in FORMS.items():
                found[f'LumiNet, weight {weight:g}, tau {tau:g}{name}'] = (
                    weighted(luminet_loss, weight, tau=tau, **options)
                )
    return found


def simulate(
    classes: int, seed: int, steps: int = 300
) -> dict[str, dict[str, float]]:
    """Train a teacher and a student with each loss.

    Args:
        classes: C; the logits have C + 1 columns.
        seed: Seed of modes, points and weights; the same for all losses.
        steps: The students' training steps, of 256 points each.

    Returns:
        For each loss and for ``'teacher'``: ``AP`` (mean over the
        classes, in percent) and ``correlation`` of the first class's logit
        with the background's, both on unseen points.
    """
    generator = torch.Generator().manual_seed(seed)
    modes = torch.randn(MODES * (classes + 1), FEATURES, generator=generator)

    def points(count: int) -> tuple[Tensor, Tensor]:
        foreground = torch.randint(classes, (count,), generator=generator)
        is_background = torch.rand(count, generator=generator) < BACKGROUND
        labels = foreground.masked_fill(is_background, classes)
        mode = torch.randint(MODES, (count,), generator=generator)
        noise = torch.randn(count, FEATURES, generator=generator)
        return modes[labels * MODES + mode] + noise, labels

    def network(hidden: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(FEATURES, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes + 1),
        )

    torch.manual_seed(seed)
    teacher = network(256)
    _fit(teacher, *points(TEACHER_TRAIN), generator)
    data, labels = points(TRAIN)
    unseen, truth = points(VAL)
    with torch.no_grad():
        answers = teacher(data)
        found = {'teacher': _score(teacher(unseen), truth)}
    for name, loss in losses().items():
        torch.manual_seed(seed + 1000)
        student = network(8)
        _distil(student, data, labels, answers, loss, steps, seed)
        with torch.no_grad():
            found[name] = _score(student(unseen), truth)
    return found


def _fit(
    model: nn.Module, data: Tensor, labels: Tensor, generator: torch.Generator
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(400):
        rows = torch.randint(len(data), (512,), generator=generator)
        optimizer.zero_grad()
        functional.cross_entropy(model(data[rows]), labels[rows]).backward()
        optimizer.step()


def _distil(
    model: nn.Module,
    data: Tensor,
    labels: Tensor,
    answers: Tensor,
    loss: Loss | None,
    steps: int,
    seed: int,
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        rows = torch.randint(len(data), (256,), generator=generator)
        logits = model(data[rows])
        total = functional.cross_entropy(logits, labels[rows])
        if loss is not None:
            share = min(1, step / WARMUP)
            total = total + share * loss(logits, answers[rows])
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()


def _score(logits: Tensor, labels: Tensor) -> dict[str, float]:
    scores = logits.softmax(1)
    each = [
        average_precision_score((labels == k).numpy(), scores[:, k].numpy())
        for k in range(logits.shape[1] - 1)
    ]
    correlation = torch.corrcoef(logits.T)[0, -1].item()
    return dict(AP=100 * sum(each) / len(each), correlation=correlation)


def main() -> None:
    """Run everything, print a table, write the numbers of each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--classes', type=int, nargs='+', default=[1, 2, 3, 5])
    parser.add_argument('--seeds', type=int, default=8, help='how many')
    parser.add_argument('--json', type=Path, help='where to write the numbers')
    args = parser.parse_args()
    found = {}
    for classes in args.classes:
        runs = [simulate(classes, seed) for seed in range(args.seeds)]
        found[str(classes)] = {
            name: {
                key: [run[name][key] for run in runs] for key in runs[0][name]
            }
            for name in runs[0]
        }
        print(f'\n{classes} classes')
        for name, values in found[str(classes)].items():
            mean, std = (
                statistics.fmean(values['AP']),
                statistics.stdev(values['AP']),
            )
            both = statistics.fmean(values['correlation'])
            print(f'{name:42}{mean:6.1f} ± {std:.1f}{both:+8.2f}')
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + '\n', 'utf-8')


if __name__ == '__main__':
    main()
