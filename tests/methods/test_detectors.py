"""The table of docs/detectors.md: its cells train, its gaps are refused."""

import pytest
import tiny
import tiny_dense
import tiny_detr
from cells import dense_detector, detector_kind, small
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from luminet_mm.losses import LogitLoss
from luminet_mm.methods import METHODS
from luminet_mm.methods.detectors import DETECTORS, works

MODELS = {
    'Faster R-CNN': (tiny, 'faster'),
    'Mask R-CNN': (tiny, 'mask'),
    'Cascade R-CNN': (tiny, 'cascade'),
    **{
        name: (tiny_dense, name.lower())
        for name in ('RetinaNet', 'FCOS', 'ATSS', 'GFL', 'RTMDet')
    },
    'Deformable DETR': (tiny_detr, 'deformable'),
    'DINO': (tiny_detr, 'dino'),
    'DAB-DETR': (tiny_detr, 'dab'),
    'Conditional DETR': (tiny_detr, 'conditional'),
    'DETR': (tiny_detr, 'detr'),
}


def on_predictions(method, task):
    kinds = method.signals(task).student
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return {'logits', 'boxes', 'masks'} & set(kinds)


def cell(method, name):
    """Maps are a slow test: the losses are the same on all pyramids."""
    quick = method.use(DETECTORS[name]).only or (
        DETECTORS[name] != 'detector'
        and on_predictions(method, DETECTORS[name])
    )
    return pytest.param(
        method,
        name,
        id=f'{method.loss}-{name}',
        marks=() if quick else pytest.mark.slow,
    )


def trained_elsewhere(method, name):
    """Whether test_method.py trains just that, as the method's own cell."""
    task = DETECTORS[name]
    own = method.use(task) and detector_kind(method, task)
    return MODELS[name][1] == own


def detector(method, name):
    kind, model = MODELS[name]
    if kind is tiny_dense:
        return dense_detector(method, model)
    return kind.detector(model)


CELLS = [
    cell(method, name)
    for method in METHODS
    for name in DETECTORS
    if works(method, name) and not trained_elsewhere(method, name)
]


def of_cascade(config):
    """The first stage's signals instead of those of the only one."""

    def renamed(value):
        if isinstance(value, list):
            return [renamed(each) for each in value]
        if isinstance(value, str) and value.startswith('roi.'):
            return value.replace('roi.', 'roi.0.', 1)
        return value

    return {key: renamed(value) for key, value in config.items()}


def build(method, name, config):
    kind, _ = MODELS[name]
    config = dict(type=f'luminet_mm.{method.loss}', **config)
    if 'Cascade' in name:
        config = of_cascade(config)
    student, teacher = (detector(method, name) for _ in range(2))
    return kind.build(kind.distiller(student, teacher, loss_x=config))


def test_the_columns_are_of_known_detectors():
    assert set(MODELS) == set(DETECTORS)
    for method in METHODS:
        for use in method.card.uses.values():
            assert set(use.only) <= set(DETECTORS)


@pytest.mark.parametrize(('method', 'name'), CELLS)
def test_a_cell_takes_a_step(method, name):
    task = DETECTORS[name]
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = build(method, name, small(method.config(task), task))
        optim = build_optim_wrapper(
            model,
            dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3)),
        )
        masks = 'Mask' in name
        log = model.train_step(tiny.batch(num_images=3, masks=masks), optim)
    assert log['loss_x'].isfinite() and log['loss_x'] != 0


REFUSED = [
    pytest.param(method, name, id=f'{method.loss}-{name}')
    for method in METHODS
    for name in DETECTORS
    if not works(method, name)
    and (
        # of a task that it knows, but not this detector
        method.use(DETECTORS[name])
        # softmax losses on every kind of sigmoid head would be the same
        or (issubclass(method.cls, LogitLoss) and name == 'GFL')
    )
]


@pytest.mark.parametrize(('method', 'name'), REFUSED)
def test_a_gap_is_refused_with_the_reason(method, name):
    config = method.config(DETECTORS[name]) or dict(signal='cls_score')
    with (
        DefaultScope.overwrite_default_scope('mmdet'),
        pytest.raises(ValueError, match='loss_x|signal') as caught,
    ):
        build(method, name, config)
    assert len(str(caught.value)) > 80
