"""What is known of every method: ``python -m luminet_mm.methods``.

The table that this prints is docs/methods.md. Each row says with which signals
a method is used on a classifier and on a two-stage detector, what it needs,
and what it trains beside the student. A test builds and trains every cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Channels = Sequence[int]


def _none(student: Channels, teacher: Channels) -> int:
    return 0


def _each(count: Callable[[int, int], int]) -> Callable:
    """The sum over pairs of features."""

    def total(student: Channels, teacher: Channels) -> int:
        return sum(map(count, student, teacher))

    return total


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Args:
        title: What the field calls it.
        loss: Class in :mod:`luminet_mm.losses`.
        paper: URL.
        classifier: Config of the loss on a classifier, with its signals; None
            where it does not apply.
        detector: The same on a two-stage detector.
        needs: What it needs besides the two models' signals.
        extra: Number of parameters that are trained beside the student, from
            the channels of the student's and the teacher's features.
        parts: Parts of a classifier's config that the method puts into the
            student, from the channels of both models' last maps. They are
            deployed; on a classifier ``extra`` counts their parameters.
    """

    title: str
    loss: str
    paper: str
    classifier: dict[str, Any] | None = None
    detector: dict[str, Any] | None = None
    needs: tuple[str, ...] = ()
    extra: Callable[[Channels, Channels], int] = field(default=_none)
    parts: Callable[[int, int], dict[str, Any]] | None = None


_STAGES = ['backbone.layer1', 'backbone.layer2', 'backbone.layer3']
# the logits, and what a weak classifier reads
_WEAK = ['logits', 'backbone.layer2']
_TOKENS = ['backbone.layers.0', 'backbone.layers.1', 'backbone.ln1']
_BEFORE_RELU = [f'{stage}.preact' for stage in _STAGES]


def _logits(**options: Any) -> dict[str, Any]:
    return dict(
        classifier=dict(signal='logits', **options),
        detector=dict(signal='roi.cls_score', **options),
    )


def _maps(signal: str | list[str] = _STAGES, **options: Any) -> dict[str, Any]:
    return dict(
        classifier=dict(signal=signal, **options),
        detector=dict(signal='neck', **options),
    )


def _vectors(roi: bool = True, **options: Any) -> dict[str, Any]:
    detector = (
        dict(signal='roi.feats')
        if roi
        else dict(signal='backbone', levels=[-1])  # one row for an image
    )
    return dict(
        classifier=dict(signal='feats', **options),
        detector=dict(detector, **options),
    )


def _review(student: Channels, teacher: Channels) -> int:
    mid = min(512, student[-1])
    levels = sum(
        s * mid + 2 * mid + 9 * mid * t + 2 * t
        for s, t in zip(student, teacher)
    )
    return levels + (len(student) - 1) * (4 * mid + 2)


def _semckd(student: Channels, teacher: Channels, batch: int = 64) -> int:
    n = batch // 4
    pairs = sum(
        2 * s * t + 38 * t * t + 8 * t for s in student for t in teacher
    )
    layers = len(student) + len(teacher)
    return pairs + layers * (2 * batch * n + 3 * n + 2 * n * n)


def _simkd(s: int, t: int) -> int:
    h = t // 2
    return s * h + 9 * h * h + h * t + 4 * h + 2 * t


def _simkd_parts(s: int, t: int) -> dict[str, Any]:
    neck = dict(type='luminet_mm.SimKDNeck', in_channels=s, out_channels=t)
    return dict(
        neck=[neck, dict(type='GlobalAveragePooling')],
        head=dict(type='luminet_mm.ReusedClsHead', in_channels=t),
    )


def _norm(s: int, t: int) -> int:
    wide = 8 * t
    return 2 * s * wide + 2 * wide + 2 * s


def _norm_parts(s: int, t: int) -> dict[str, Any]:
    neck = dict(type='luminet_mm.NORMNeck', in_channels=s, teacher_channels=t)
    return dict(neck=[neck, dict(type='GlobalAveragePooling')])


def _fcfd(back: int) -> Callable[[Channels, Channels], int]:
    """Bridges to the teacher, and to the student for all maps but ``back``."""

    def total(student: Channels, teacher: Channels) -> int:
        pairs = [*zip(student, teacher)]
        there = sum(9 * s * t + 2 * t for s, t in pairs)
        return there + sum(9 * s * t + 2 * s for s, t in pairs[:-back])

    return total


def _align(s: int, t: int) -> int:
    return 0 if s == t else s * t + t


def _vitkd(student: Channels, teacher: Channels) -> int:
    t = teacher[-1]
    return sum(map(_align, student, teacher)) + 18 * t * t + 3 * t


def _context(t: int) -> int:
    h = t // 2
    return (t + 1) + (t * h + h) + 2 * h + (h * t + t)


_ARXIV = 'https://arxiv.org/abs/'
_CVF = 'https://openaccess.thecvf.com/content'
METHODS = (
    Method('LumiNet', 'LumiNetLoss', f'{_ARXIV}2310.03669', **_logits()),
    Method('KD', 'KDLoss', f'{_ARXIV}1503.02531', **_logits()),
    Method(
        'Hard labels (DeiT)',
        'HardLabelLoss',
        f'{_ARXIV}2012.12877',
        **_logits(),
    ),
    Method(
        'DKD', 'DKDLoss', f'{_ARXIV}2203.08679', **_logits(), needs=('labels',)
    ),
    Method('DIST', 'DISTLoss', f'{_ARXIV}2205.10536', **_logits()),
    Method(
        'Logit standardisation',
        'LogitStandardizationKDLoss',
        f'{_ARXIV}2403.01427',
        **_logits(),
    ),
    Method(
        'NKD', 'NKDLoss', f'{_ARXIV}2303.13005', **_logits(), needs=('labels',)
    ),
    Method(
        'WSLD',
        'WSLDLoss',
        f'{_ARXIV}2102.00650',
        **_logits(),
        needs=('labels',),
    ),
    Method(
        'MLLD',
        'MLLDLoss',
        f'{_CVF}/CVPR2023/html/Jin_Multi-Level_Logit_Distillation_CVPR_2023'
        '_paper.html',
        **_logits(),
        needs=('optionally a weak and a strong view',),
    ),
    Method(
        'USKD, self-distillation',
        'USKDLoss',
        f'{_ARXIV}2303.13005',
        classifier=dict(student=_WEAK),
        needs=('labels', 'no teacher'),
        extra=_each(lambda s, classes: (s + 1) * classes),
    ),
    Method(
        'FitNet',
        'FitNetLoss',
        f'{_ARXIV}1412.6550',
        **_maps(),
        extra=_each(lambda s, t: s * t + 3 * t),
    ),
    Method('AT', 'ATLoss', f'{_ARXIV}1612.03928', **_maps()),
    Method('NST', 'NSTLoss', f'{_ARXIV}1707.01219', **_maps()),
    Method(
        'FSP',
        'FSPLoss',
        f'{_CVF}_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html',
        **_maps(),
        needs=('equal channels',),
    ),
    Method(
        'AB',
        'ABLoss',
        f'{_ARXIV}1811.03233',
        **_maps(_BEFORE_RELU),
        extra=_each(lambda s, t: 0 if s == t else s * t + 3 * t),
    ),
    Method(
        'OFD',
        'OFDLoss',
        f'{_ARXIV}1904.01866',
        **_maps(_BEFORE_RELU),
        extra=_each(lambda s, t: s * t + 2 * t),
    ),
    Method(
        'VID',
        'VIDLoss',
        f'{_ARXIV}1904.05835',
        **_maps(),
        extra=_each(lambda s, t: s * t + 2 * t * t + t),
    ),
    Method(
        'ReviewKD',
        'ReviewKDLoss',
        f'{_ARXIV}2104.09044',
        **_maps(),
        extra=_review,
    ),
    Method(
        'SemCKD',
        'SemCKDLoss',
        f'{_ARXIV}2012.03236',
        classifier=dict(signal=_STAGES, batch_size=64),
        needs=('a fixed batch size',),
        extra=_semckd,
    ),
    Method(
        'SimKD',
        'SimKDLoss',
        f'{_ARXIV}2203.14001',
        classifier=dict(student='neck.0', teacher=_STAGES[-1], factor=None),
        detector=dict(signal='neck'),  # the loss alone
        needs=('SimKDNeck and ReusedClsHead in a classifier',),
        extra=_each(_simkd),
        parts=_simkd_parts,
    ),
    Method(
        'NORM',
        'NORMLoss',
        'https://openreview.net/forum?id=CRNwGauQpb6',
        classifier=dict(student='neck.0.expand', teacher=_STAGES[-1]),
        needs=('NORMNeck in the student',),
        extra=_each(_norm),
        parts=_norm_parts,
    ),
    Method(
        'FCFD',
        'FCFDLoss',
        f'{_ARXIV}2304.11832',
        classifier=dict(signal=[*_STAGES, 'logits']),
        needs=('networks that can be cut',),
        extra=_fcfd(1),
    ),
    Method(
        'FCFD, detectors',
        'FCFDRoILoss',
        f'{_ARXIV}2304.11832',
        detector=dict(signal=['neck', 'roi.cls_score', 'roi.bbox_pred']),
        needs=('one box head',),
        extra=_fcfd(1),
    ),
    Method(
        'SRD, the projector recipe',
        'SRDLoss',
        f'{_ARXIV}2303.11098',
        **_vectors(),
        needs=('more than two rows',),
        extra=_each(lambda s, t: s * t),
    ),
    Method(
        'VkD',
        'VkDLoss',
        f'{_ARXIV}2403.06213',
        **_vectors(),
        needs=('a teacher at least as wide',),
        extra=_each(lambda s, t: s * t),
    ),
    Method(
        'RKD',
        'RKDLoss',
        f'{_ARXIV}1904.05068',
        **_vectors(roi=False),
        needs=('three images or more',),
    ),
    Method(
        'SP',
        'SPLoss',
        f'{_ARXIV}1907.09682',
        classifier=dict(signal=_STAGES[-1]),
        # images of other ranks have maps of another size
        detector=dict(signal='neck', sync_stats=False),
    ),
    Method('PKT', 'PKTLoss', f'{_ARXIV}1803.10837', **_vectors()),
    Method(
        'CC',
        'CCLoss',
        f'{_ARXIV}1904.01802',
        **_vectors(),
        extra=_each(lambda s, t: 128 * (s + t + 2)),
    ),
    Method(
        'CRD',
        'CRDLoss',
        f'{_ARXIV}1910.10699',
        classifier=dict(signal='feats', num_samples=50000),
        needs=('labels', 'the index of each image', 'memory banks'),
        extra=_each(lambda s, t: 128 * (s + t + 2)),
    ),
    Method(
        'PKD',
        'PKDLoss',
        f'{_ARXIV}2207.02039',
        **_maps(),
        needs=('equal channels',),
    ),
    Method(
        'CWD',
        'CWDLoss',
        f'{_ARXIV}2011.13256',
        **_maps(),
        needs=('equal sizes, and equal channels or a connector',),
    ),
    Method(
        'MGD',
        'MGDLoss',
        f'{_ARXIV}2205.01529',
        classifier=dict(
            signal=_STAGES[-1],
            mask='channel',
            mask_ratio=0.15,
            loss_weight=7e-5,
        ),
        detector=dict(signal='neck', loss_weight=5e-7),
        extra=_each(lambda s, t: 18 * t * t + 2 * t + _align(s, t)),
    ),
    Method(
        'ViTKD',
        'ViTKDLoss',
        f'{_ARXIV}2209.02432',
        classifier=dict(signal=_TOKENS),
        needs=('transformers with the same patches',),
        extra=_vitkd,
    ),
    Method(
        'FGD',
        'FGDLoss',
        f'{_ARXIV}2111.11837',
        detector=dict(signal='neck'),
        needs=('boxes',),
        extra=_each(lambda s, t: 2 * _context(t) + _align(s, t)),
    ),
    Method(
        'FGFI',
        'FGFILoss',
        f'{_ARXIV}1906.03609',
        detector=dict(signal='neck', loss_weight=0.01),
        needs=('boxes', 'anchors'),
        extra=_each(lambda s, t: 9 * s * t + t),
    ),
)
TASKS = ('classifier', 'detector')

# channels of ResNet-56 and ResNet-20 on CIFAR, and of Faster R-CNN with
# ResNet-101 and with ResNet-18
_PAIRS = {
    'classifier': {
        'feats': ([64], [64]),
        _STAGES[-1]: ([64], [64]),
        'stages': ([16, 32, 64], [16, 32, 64]),
        'weak': ([32], [100]),  # and the number of classes
        'tokens': ([192] * 3, [384] * 3),  # DeiT-Ti and DeiT III-S
    },
    'detector': {
        'neck': ([256] * 5, [256] * 5),
        'stages': ([256] * 5, [256] * 5),  # levels, and predictions on them
        'backbone': ([512], [2048]),
        'roi.feats': ([256], [256]),
    },
}


def extra_parameters(method: Method, task: str) -> int:
    """Parameters beside the student for the pairs that the table names."""
    cfg = getattr(method, task)
    signal = cfg.get('signal', cfg.get('teacher', _WEAK))
    key = 'stages' if isinstance(signal, list) else signal
    key = 'tokens' if signal == _TOKENS else key
    key = 'weak' if signal == _WEAK else key
    return method.extra(*_PAIRS[task].get(key, ([], [])))


def _code(signal: str | list[str]) -> str:
    names = signal if isinstance(signal, list) else [signal]
    return ', '.join(f'`{name}`' for name in names)


def table() -> str:
    """The table in Markdown."""
    lines = [
        '| method | class | classifier | two-stage detector | needs '
        '| extra parameters |',
        '|---|---|---|---|---|---|',
    ]
    for method in METHODS:
        cells = [
            f'[{method.title}]({method.paper})',
            f'`{method.loss}`',
        ]
        counts = []
        for task in TASKS:
            cfg = getattr(method, task)
            if cfg is None:
                cells.append('–')
                continue
            sides = [
                _code(cfg[side])
                for side in ('signal', 'student', 'teacher')
                if side in cfg
            ]
            levels = f', levels {cfg["levels"]}' if 'levels' in cfg else ''
            cells.append(' against '.join(sides) + levels)
            count = f'{extra_parameters(method, task):,}'
            deployed = task == 'classifier' and method.parts
            counts.append(f'{count} deployed' if deployed else count)
        cells.append(', '.join(method.needs) or '–')
        cells.append(
            counts[0] if len(set(counts)) == 1 else ' / '.join(counts)
        )
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def main() -> None:
    """Print docs/methods.md."""
    print(
        '# Methods\n\n'
        'Made by `python -m luminet_mm.methods > docs/methods.md`. Signals '
        'are those that\nthe tests train; other ones of the same kind work '
        'as well. Extra parameters are\ntrained beside the student and not '
        'published with it, unless it says\ndeployed: for ResNet-56 and '
        'ResNet-20 on CIFAR / for Faster R-CNN with ResNet-101\nand '
        'ResNet-18; of ViTKD for DeiT III-S and DeiT-Ti. Options, formulas '
        'and sources:\n[losses.md](losses.md).'
        '\n\n' + table() + '\n\nWithout a loss of their own: mutual learning '
        '(DML) is `MutualClassifier` with\n`KDLoss`, see '
        '[classifiers.md](classifiers.md#mutual-learning); teacher assistants '
        '(TAKD)\nare [chains](chains.md) of configs; several teachers average '
        'their logits.'
    )


if __name__ == '__main__':
    main()
