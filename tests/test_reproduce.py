"""docs/reproduce.md: time and disk follow from configs and measurements."""

import json
import math
import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / 'docs' / 'reproduce.md').read_text(encoding='utf-8')
RAW = ROOT / 'docs' / 'results'
STUDENTS = (
    'frcnn_r18_coco.py',
    'cifar100/resnet8x4_cifar100.py',
    'imagenet/resnet18_in1k.py',
)
IMAGES = (None, 50_000, 1_281_167)
GPUS = (8, 1, 8)


@pytest.fixture(scope='module')
def table():
    part = TEXT.partition('## Time and disk\n')[2].partition('\n- ')[0]
    rows = re.findall(r'^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$', part, re.M)
    return {name: cells for name, *cells in rows}


@pytest.mark.parametrize('column', range(3))
def test_steps_parameters_and_checkpoints(table, column):
    cfg = Config.fromfile(ROOT / 'configs' / STUDENTS[column])
    batch = cfg.train_dataloader.batch_size * GPUS[column]
    assert table['images a step'][column] == str(batch)
    steps = cfg.train_cfg.get('max_iters')
    if steps is None:
        steps = cfg.train_cfg.max_epochs * math.ceil(IMAGES[column] / batch)
    assert table['steps'][column] == f'{steps:,}'
    model = cfg.model
    if 'backbone' in model:
        model.backbone.init_cfg = None
    scope = 'mmdet' if column == 0 else 'mmpretrain'
    with DefaultScope.overwrite_default_scope(scope):
        network = MODELS.build(model)
    count = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert table['parameters that are trained'][column] == f'{count:,}'
    shown = table['a checkpoint, weights and momentum'][column]
    assert shown == f'{8 * count / 1e6:.0f} MB'


def test_ratios_and_hours_are_measured_ones(table):
    raw = [
        json.loads((RAW / f'benchmark_{name}.json').read_text())
        for name in ('frcnn_r101_r18', 'resnet32x4_resnet8x4')
    ]
    name = "a distillation step over the student's alone, two CPU cores"
    for cell, each in zip(table[name], raw):
        ratio = each['ratios']['distillation step / student step']['median']
        assert cell == f'{ratio:.2f}'
        assert each['machine']['threads'] == 2
    steps = int(table['steps'][1].replace(',', ''))
    hours = [
        raw[1]['seconds'][part]['median'] * steps / 3600
        for part in ('distillation step', 'student step')
    ]
    assert table['a run on two CPU cores'][1] == (
        f'{hours[0]:.0f} h; student alone {hours[1]:.0f} h'
    )


def test_commands_name_configs_and_folders_that_follow_from_them():
    code = ' '.join(re.findall(r'^```bash\n(.*?)^```', TEXT, re.M | re.S))
    configs = re.findall(r'configs/(\S+)\.py', code)
    assert len(configs) > 6
    for folder in re.findall(r'work_dirs/(\w+)(?=[ /])', code):
        names = [Path(each).name for each in configs]
        assert folder == 'coco' or folder in names, folder
