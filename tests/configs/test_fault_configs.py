"""The grid of mistakes on RoIs: each row has its mistake, and trains."""

import copy
import functools
from pathlib import Path

import pytest
import tiny
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope

from luminet_mm.launch.grid import make_cells
from luminet_mm.stock import stock_config

ROOT = Path(__file__).parents[2]
SWEEP = ROOT / 'configs' / 'sweeps' / 'digits_roi_faults.py'
TEACHERS = 'configs/_base_/models/frcnn_teacher_digits_'
# What a mistake changes, but for the hook that no longer stops the run.
CHANGES = {
    'right': {},
    'own_rois': {'type': 'luminet_mm.OwnRoIsDistiller'},
    'other_rois': {'type': 'luminet_mm.OtherRoIsDistiller'},
    'train_teacher': {'type': 'luminet_mm.TrainModeDistiller'},
    'bgr_teacher': {'teacher.config': f'{TEACHERS}bgr.py'},
    'raw_teacher': {'teacher.config': f'{TEACHERS}raw.py'},
    'class_mean': {'loss_weight': 1 / 11},
    'no_bg_column': {'background': False},
    'no_bg_rows': {'rows': 'foreground'},
}
METHODS = ('kd', 'luminet')


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    """Configs name files from the project's folder."""
    monkeypatch.chdir(ROOT)


@functools.cache
def cells():
    return make_cells(Config.fromfile(SWEEP).runs)


@functools.cache
def groups():
    """The config of the first seed of each row; no test may change it."""
    return {c.group: c.load() for c in cells()[: 1 + 2 * len(CHANGES)]}


def test_each_method_has_each_mistake_with_five_seeds():
    names = [f'{m}_{change}' for m in METHODS for change in CHANGES]
    assert sorted(groups()) == sorted(['student', *names])
    assert {c.options['randomness.seed'] for c in cells()} == {*range(5)}
    assert len(cells()) == 5 * len(groups())
    text = SWEEP.read_text('utf-8')
    for change in CHANGES:
        assert f'#   {change} ' in text or change == 'right'


def test_a_row_differs_from_the_right_one_in_its_mistake_alone():
    student = groups()['student'].model.to_dict()
    for name, cfg in groups().items():
        method, _, mistake = name.partition('_')
        if not mistake:  # the student alone
            continue
        key = f'loss_{method}'
        right = Config.fromfile(f'configs/{method}_frcnn_digits.py')
        right.train_cfg.val_interval = 3
        expected = right.model.distill[key]
        for option, value in CHANGES[mistake].items():
            if option == 'type':
                right.model.type = value
            elif option == 'teacher.config':
                right.model.teacher.config = value
            elif option == 'loss_weight':
                expected.loss_weight *= value
            else:
                expected[option] = value
                if (method, option) == ('luminet', 'rows'):
                    expected.stats_rows = value
        if mistake != 'right':
            right.custom_imports = cfg.custom_imports
            right.default_hooks.distill_monitor.stop = False
        assert cfg.to_dict() == right.to_dict(), name
        stock = stock_config(cfg).model.to_dict()  # for reports and tests
        assert stock == dict(student, type='mmdet.TwoStageDetector')


def images_of_teacher(change):
    """What the digits' teacher sees of an image that is red alone."""
    cfg = Config.fromfile(TEACHERS + f'{change}.py').model.data_preprocessor
    with DefaultScope.overwrite_default_scope('mmdet'):
        data = MODELS.build(cfg)
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[2] = 255  # files are read as BGR
    return data(dict(inputs=[image]))['inputs'][0, :, 0, 0]


def test_teachers_see_the_wrong_images():
    assert images_of_teacher('raw').tolist() == [255, 0, 0]
    mean = torch.tensor([123.675, 116.28, 103.53])
    std = torch.tensor([58.395, 57.12, 57.375])
    blue = (torch.tensor([0.0, 0, 255]) - mean) / std
    torch.testing.assert_close(images_of_teacher('bgr'), blue)


@pytest.mark.slow
@pytest.mark.parametrize('change', CHANGES)
def test_two_steps(change):
    """Both methods in one model, with the digits' own weights."""
    cfg, other = (groups()[f'{method}_{change}'] for method in METHODS)
    block = copy.deepcopy(cfg.model)
    block.distill.update(other.model.distill)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(block)
        model.init_weights()
        optim = build_optim_wrapper(model.train(), cfg.optim_wrapper)
        raw = tiny.batch(num_images=2, size=160)
        for _ in range(2):
            log = model.train_step(raw, optim)
            for method in METHODS:
                assert log[f'loss_{method}'].item() > 0
            assert all(torch.as_tensor(v).isfinite() for v in log.values())
