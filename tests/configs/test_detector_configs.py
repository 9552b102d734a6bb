"""Configs of one-stage detectors and DETRs: what they say, and train."""

import functools
import re

import pytest
import yaml
from config_files import (
    ROOT,
    header,
    inner,
    load,
    plain,
    resolves,
    take_step,
    teacher_config,
    zoo,
)
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from tiny import batch

from luminet_mm.stock import stock_config

FOLDERS = ('one_stage', 'detr')
PATHS = {
    path.stem: f'{folder}/{path.name}'
    for folder in FOLDERS
    for path in sorted((ROOT / 'configs' / folder).glob('*.py'))
}
NAMES = list(PATHS)
COCO = [name for name in NAMES if name.endswith('_coco')]
DIGITS = [name for name in NAMES if name.endswith('_digits')]
BASELINES = {'gfl_r101_r18': 'gfl_r18_coco', 'dino_r50_r18': 'dino_r18_coco'}
DISTILLED = [name for name in COCO if name not in BASELINES.values()]
# The students' own configs, of the zoo but for one.
STUDENTS = {
    'gfl_r101_r50': 'gfl/gfl_r50_fpn_1x_coco.py',
    'retinanet_r101_r50': 'retinanet/retinanet_r50_fpn_2x_coco.py',
    'fcos_r101_r50': 'fcos/fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco.py',
    'atss_r101_r50': 'atss/atss_r50_fpn_1x_coco.py',
    'mrcnn_retinanet': 'retinanet/retinanet_r50_fpn_2x_coco.py',
    'rtmdet_m_s': 'rtmdet/rtmdet_s_8xb32-300e_coco.py',
    'dino_deformable': 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
}
# AP of the papers, and of their students alone (dense.md's sources).
APS = {
    'bckd_gfl_r101_r50': (43.2, 40.1),
    'bckd_gfl_r101_r18': (38.6, 35.8),
    'crosskd_gfl_r101_r50': (43.7, 40.2),
    'ld_gfl_r101_r50': (42.1, 40.1),
    'ld_gfl_r101_r18': (36.5, 35.8),
    'crosskd_retinanet_r101_r50': (39.7, 37.4),
    'crosskd_fcos_r101_r50': (41.1, 38.5),
    'crosskd_atss_r101_r50': (41.8, 39.4),
    'pkd_mrcnn_retinanet': (41.5, 37.4),
    'cwd_rtmdet_m_s': (45.7, 44.6),
}


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    """Configs name files from the project's folder."""
    monkeypatch.chdir(ROOT)


@functools.cache
def student(name):
    """The stock config that a distilled one is made of."""
    pair = name.removesuffix('_coco').partition('_')[2]
    if pair in STUDENTS:
        return get_config(f'mmdet::{STUDENTS[pair]}')
    return load(PATHS[BASELINES[pair]])


# -- what a config says -----------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
def test_header_has_a_command_that_names_the_file(name):
    commands = re.findall(
        r'(?:tools/dist_train\.sh|python tools/train\.py) +(\S+)',
        header(PATHS[name]),
    )
    assert commands == [f'configs/{PATHS[name]}']


@pytest.mark.parametrize('name', COCO)
def test_header_says_what_is_needed_and_known(name):
    text = header(PATHS[name])
    fields = re.findall(r'^(\w+)  +\S', text, re.MULTILINE)
    assert fields == ['Needs', 'Run', 'Paper', 'Derived']
    assert 'data/coco' in text and 'on first use' in text
    # None of them was trained on COCO: no number may look like ours.
    assert 'Not run here yet' in ' '.join(text.split())
    said = re.search(r'AP (\d+\.\d) .*?alone (\d+\.\d)', text, re.DOTALL)
    known = APS.get(name.removesuffix('_coco'))
    assert (said and tuple(map(float, said.groups()))) == known


def test_the_model_index_lists_them():
    text = (ROOT / 'model-index.yml').read_text(encoding='utf-8')
    models = yaml.safe_load(text)['Models']
    listed = {
        model['Name']: model
        for model in models
        if model['Config'].split('/')[1] in FOLDERS
    }
    assert set(listed) == set(COCO)
    for name, model in listed.items():
        cfg = load(PATHS[name])
        assert model['Metadata']['Epochs'] == cfg.train_cfg.max_epochs
        assert 'Results' not in model and 'Weights' not in model


def test_the_page_lists_them_with_their_numbers():
    page = (ROOT / 'docs' / 'detectors.md').read_text(encoding='utf-8')
    rows = dict(re.findall(r'^\| `configs/(\S+)` \| (.*) \|$', page, re.M))
    assert set(rows) == {PATHS[name] for name in COCO}
    for name in DISTILLED:
        row = rows[PATHS[name]]
        theirs = re.search(r'\((\d+\.\d)\) \|', row)[1]
        assert f'teacher ({theirs} AP' in header(PATHS[name])
        aps = re.search(r'\| (\d+\.\d) \((\d+\.\d)\)', row)
        known = APS.get(name.removesuffix('_coco'))
        assert (aps and tuple(map(float, aps.groups()))) == known


# -- what it refers to ------------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
def test_every_type_is_registered(name):
    cfg = load(PATHS[name])
    hooks = list(cfg.get('default_hooks', {}).values())
    for hook in hooks + list(cfg.get('custom_hooks', [])):
        assert resolves(HOOKS, hook), hook
    for phase in ('train', 'val', 'test'):
        dataset = inner(cfg[f'{phase}_dataloader'].dataset)
        assert resolves(DATASETS, dataset)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert resolves(METRICS, evaluator)
        assert evaluator.type == 'FasterCocoMetric'
    for loss in cfg.model.get('distill', {}).values():
        assert resolves(MODELS, loss)


@pytest.mark.parametrize('name', NAMES)
def test_a_saved_config_is_the_same(name):
    cfg = load(PATHS[name])
    again = Config.fromstring(cfg.pretty_text, '.py')
    assert again.to_dict() == cfg.to_dict()


@pytest.mark.parametrize('name', DISTILLED)
def test_it_is_the_students_config_with_a_teacher_and_a_loss(name):
    cfg, own = load(PATHS[name]), student(name)
    stock = stock_config(cfg)
    stock.model.type = own.model.type
    expected = plain(own.to_dict())
    found = plain(stock.to_dict())
    changed = {
        'val_evaluator',
        'test_evaluator',
        'custom_hooks',
        'custom_imports',
    }
    assert found['custom_imports'] == dict(imports=['luminet_mm'])
    if 'rtmdet' in name:  # the zoo's is for another batch
        changed.add('auto_scale_lr')
        images = 8 * cfg.train_dataloader.batch_size
        assert cfg.auto_scale_lr.base_batch_size == images == 256
    assert {k: v for k, v in found.items() if k not in changed} == {
        k: v for k, v in expected.items() if k not in changed
    }
    # its own hooks stay: RTMDet's average, and the end of its mosaics
    assert found['custom_hooks'] == expected.get('custom_hooks', [])


@pytest.mark.parametrize('name', DISTILLED)
def test_teacher_is_the_zoos_and_sees_what_the_student_sees(name):
    cfg = load(PATHS[name])
    teacher = cfg.model.teacher
    package, where = teacher.config.split('::')
    entry = zoo(where.split('/')[0])[where]
    assert package == 'mmdet' and entry['Weights'] == teacher.checkpoint
    ap = entry['Results'][0]['Metrics']['box AP']
    assert f'teacher ({ap} AP' in header(PATHS[name])
    # A broken teacher stops the run; the zoo's own does not.
    (check,) = [
        hook
        for hook in cfg.custom_hooks
        if hook.type == 'luminet_mm.TeacherCheckHook'
    ]
    assert 0.5 < ap - 100 * check.min_metric < 2.5
    theirs = teacher_config(teacher.config).model
    for key in ('mean', 'std', 'bgr_to_rgb'):
        assert (
            theirs.data_preprocessor[key] == cfg.model.data_preprocessor[key]
        )


@pytest.mark.parametrize('name', [n for n in COCO if 'rtmdet' in n])
def test_distillation_ends_with_the_mosaics(name):
    cfg = load(PATHS[name])
    by_type = {hook.type: hook for hook in cfg.custom_hooks}
    (schedule,) = [
        value
        for key, value in by_type['luminet_mm.DistillScheduleHook'].items()
        if key.startswith('loss_')
    ]
    switch = by_type['PipelineSwitchHook'].switch_epoch
    # epochs are counted from 0 there and from 1 here
    assert schedule == dict(stop=switch + 1, unit='epoch')


def test_digits_students_are_of_equal_size():
    gfl, retinanet = (
        load(PATHS[f'{kind}_student_digits']) for kind in ('gfl', 'retinanet')
    )
    same = 'depth base_channels stem_channels frozen_stages norm_eval init_cfg'
    for key in same.split():
        assert gfl.model.backbone[key] == retinanet.model.backbone[key]
    for key in ('in_channels', 'out_channels', 'num_outs', 'start_level'):
        assert gfl.model.neck[key] == retinanet.model.neck[key]
    assert gfl.train_cfg == retinanet.train_cfg


# -- a step -----------------------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
def test_one_step(name):
    cfg = load(PATHS[name])
    data = batch(size=64)
    for sample in data['data_samples']:
        labels = sample.gt_instances.labels
        labels.clamp_(max=cfg.model.bbox_head.num_classes - 1)
    _, log, trained, untouched = take_step(cfg, data)
    assert all(value.isfinite() for value in log.values())
    parts = ['backbone', 'neck', 'bbox_head']
    parts += [part for part in ('encoder', 'decoder') if part in cfg.model]
    for part in parts:
        assert any(key.startswith(f'{part}.') for key in trained), part
    distill = cfg.model.get('distill', {})
    assert set(distill) <= set(log) and all(log[key] > 0 for key in distill)
    # DDP waits for the gradient of every trainable parameter.
    assert not untouched
