"""Every cell of docs/methods.md is built and trained; what cards say holds."""

import re

import pytest
import tiny
import tiny_cls
import torch
from cells import CELLS, DETECTORS, detector_pair, pair, small
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

import luminet_mm.losses
from luminet_mm.distillers.watch import Watch
from luminet_mm.hooks.tally import Tally
from luminet_mm.losses import DenseLoss, DistillLoss, QueryLoss
from luminet_mm.losses.base.card import KINDS
from luminet_mm.methods import (
    METHODS,
    TASKS,
    compared,
    logit_losses,
    supervised,
)

# Losses on logits that get more than rows of logits, or something else.
OTHER_INPUTS = (
    'USKDLoss',
    'MaskKDLoss',
    'RoIBoxLoss',
    'DISTPlusLoss',
    'SDDLoss',
)


def test_every_loss_has_one_row_and_one_key():
    classes = {
        name
        for name in luminet_mm.losses.__all__
        if isinstance(getattr(luminet_mm.losses, name), type)
        and issubclass(getattr(luminet_mm.losses, name), DistillLoss)
    } - {'DistillLoss', 'LogitLoss', 'FeatureLoss', 'DenseLoss', 'QueryLoss'}
    assert sorted(method.loss for method in METHODS) == sorted(classes)
    for task in TASKS:
        keys = [each.card.key for each in METHODS if each.use(task)]
        assert len(keys) == len(set(keys))


def test_cards_are_written_with_known_words():
    for method in METHODS:
        card = method.card
        assert set(card.uses) <= set(TASKS) and card.uses
        assert card.paper.cite[-4:].isdigit()
        assert card.paper.url.startswith('https://')
        for source in card.sources:
            assert re.fullmatch(r'[\w.-]+/[\w.-]+', source.repo)
            assert re.fullmatch(r'[0-9a-f]{7,8}', source.commit)
            assert source.files
        found = [card.signals, *(use.signals for use in card.uses.values())]
        found += [use.compared for use in card.uses.values()]
        for signals in filter(None, found):
            for kind in (signals.student, signals.teacher or ()):
                kinds = [kind] if isinstance(kind, str) else kind
                assert set(kinds) <= set(KINDS)


def test_the_grid_has_the_settings_of_the_cards():
    kd, srd = (compared('classifier')[key] for key in ('kd', 'srd'))
    assert kd == dict(
        type='luminet_mm.KDLoss', signal='logits', tau=4.0, loss_weight=0.9
    )
    assert srd['connector'] == dict(type='mlp', hidden=1024)
    fcfd = [
        compared(task)['fcfd']['type'] for task in ('classifier', 'detector')
    ]
    assert fcfd == ['luminet_mm.FCFDLoss', 'luminet_mm.FCFDRoILoss']
    assert supervised('classifier')['luminet'] == 2.0
    assert supervised('detector') == {}
    for key in ('fsp', 'pkd'):  # no settings, so not compared
        assert key in compared('classifier')
        assert key not in compared('detector')


def test_methods_on_logits_come_first_and_luminet_before_them():
    titles = [method.title for method in METHODS]
    assert titles[:3] == ['LumiNet', 'Binary KD', 'KD']
    assert {cls.__name__ for cls in logit_losses()} == {
        method.loss
        for method in METHODS
        if method.card.formula
        and method.loss not in OTHER_INPUTS
        and not issubclass(method.cls, (DenseLoss, QueryLoss))
    }


# -- what is trained beside the student: as it was derived ------------------


def each(count):
    return lambda student, teacher: sum(map(count, student, teacher))


def review(student, teacher):
    mid = min(512, student[-1])
    levels = sum(
        s * mid + 2 * mid + 9 * mid * t + 2 * t
        for s, t in zip(student, teacher, strict=True)
    )
    return levels + (len(student) - 1) * (4 * mid + 2)


def semckd(student, teacher, batch=8):
    n = batch // 4
    pairs = sum(
        2 * s * t + 38 * t * t + 8 * t for s in student for t in teacher
    )
    layers = len(student) + len(teacher)
    return pairs + layers * (2 * batch * n + 3 * n + 2 * n * n)


def simkd(s, t):
    h = t // 2
    return s * h + 9 * h * h + h * t + 4 * h + 2 * t


def fcfd(student, teacher):
    """Bridges to the teacher, and to the student for all but the last."""
    pairs = [*zip(student, teacher, strict=True)]
    there = sum(9 * s * t + 2 * t for s, t in pairs)
    return there + sum(9 * s * t + 2 * s for s, t in pairs[:-1])


def align(s, t):
    return 0 if s == t else s * t + t


def vitkd(student, teacher):
    t = teacher[-1]
    return sum(map(align, student, teacher)) + 18 * t * t + 3 * t


def context(t):
    h = t // 2
    return (t + 1) + (t * h + h) + 2 * h + (h * t + t)


EXTRA = dict(  # from the channels of the student and of the teacher
    USKDLoss=each(lambda s, classes: (s + 1) * classes),
    FitNetLoss=each(lambda s, t: s * t + 3 * t),
    ABLoss=each(lambda s, t: 0 if s == t else s * t + 3 * t),
    OFDLoss=each(lambda s, t: s * t + 2 * t),
    VIDLoss=each(lambda s, t: s * t + 2 * t * t + t),
    ReviewKDLoss=review,
    SemCKDLoss=semckd,
    SimKDLoss=each(simkd),
    NORMLoss=each(lambda s, t: 16 * s * t + 16 * t + 2 * s),
    FCFDLoss=fcfd,
    FCFDRoILoss=fcfd,
    SRDLoss=each(lambda s, t: s * t),
    VkDLoss=each(lambda s, t: s * t),
    CCLoss=each(lambda s, t: 128 * (s + t + 2)),
    CRDLoss=each(lambda s, t: 128 * (s + t + 2)),
    MGDLoss=each(lambda s, t: 18 * t * t + 2 * t + align(s, t)),
    TokenHintLoss=each(lambda s, t: s * t + t),
    ViTKDLoss=vitkd,
    FGDLoss=each(lambda s, t: 2 * context(t) + align(s, t)),
    FGFILoss=each(lambda s, t: 9 * s * t + t),
    MasKDLoss=each(lambda s, t: s * t + t),
)


def expected(method, config, task, equal):
    """The number for the small models of this file."""
    if method.loss not in EXTRA:
        return 0
    by_kind = {
        'vectors': ([16], [24]),
        'image vectors': ([64], [96]),
        'last map': ([16], [24]),
        'first map': ([16], [6]),  # of a transformer's width
        'maps': ([4, 8, 16], [4, 8, 16] if equal else [6, 12, 24]),
        'maps before ReLU': ([4, 8, 16], [6, 12, 24]),
        'tokens': ([16] * 3, [24] * 3),
    }
    if task in DETECTORS:
        width = 16 if task == 'detector' else 32
        levels = [width] * (4 if task == 'detr' else 5)
        by_kind = dict.fromkeys(by_kind, (levels, levels))
        by_kind['vectors'] = ([16], [16])
    if method.loss == 'USKDLoss':
        return EXTRA['USKDLoss']([8], [tiny_cls.NUM_CLASSES])
    kinds = method.signals(task)
    kind = kinds.teacher or kinds.student
    kind = kind if isinstance(kind, str) else kind[0]
    return EXTRA[method.loss](*by_kind[kind])


@pytest.mark.parametrize(('method', 'task'), CELLS)
def test_a_step(method, task):
    config = dict(
        type=f'luminet_mm.{method.loss}', **small(method.config(task), task)
    )
    equal = 'equal channels' in ' '.join(method.needs)
    scope = 'mmpretrain' if task == 'classifier' else 'mmdet'
    with DefaultScope.overwrite_default_scope(scope):
        if task == 'classifier':
            student, teacher = pair(method)
            if method.parts:
                parts = method.parts(16, 24)
                student['neck'] = parts['neck']
                student['head'].update(parts.get('head', {}))
            model = tiny_cls.build(
                tiny_cls.distiller(student, teacher, loss_x=config)
            )
            raw = tiny_cls.batch()
            for index, sample in enumerate(raw['data_samples']):
                sample.set_metainfo(dict(sample_idx=index))
        else:
            kind = DETECTORS[task]
            networks = detector_pair(method, task)
            masks = method.card.key == 'mask_kd'
            model = kind.build(kind.distiller(*networks, loss_x=config))
            raw = tiny.batch(num_images=3, masks=masks)
        optim = build_optim_wrapper(
            model,
            dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3)),
        )
        model.watch = Watch()
        model.watch.due = True
        log = model.train_step(raw, optim)
    assert log['loss_x'].isfinite() and log['loss_x'] != 0
    tally = Tally()
    tally.add(model.watch.found[:, 0].tolist())
    assert tally.share > 0 and tally.moves == 1 and not tally.outside
    assert all(p.isfinite().all() for p in model.parameters())
    trained = [model.distill]
    if method.parts and task == 'classifier':
        trained.append(model.neck)
    count = sum(p.numel() for part in trained for p in part.parameters())
    assert count == expected(method, config, task, equal)
    assert torch.is_grad_enabled()
