"""Every config resolves, says what it is, builds and takes a step."""

import json
import re
import shutil
from pathlib import Path

import config_files
import pytest
import yaml
from config_files import (
    inner,
    plain,
    resolves,
    take_step,
    teacher_config,
    zoo,
)
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    TRANSFORMS,
)
from mmengine.utils import get_installed_path
from PIL import Image
from tiny import batch
from torch.nn.modules.batchnorm import _BatchNorm

from luminet_mm.preflight import ConfigError, check_config
from luminet_mm.recipe.families import recipe_for
from luminet_mm.stock import stock_config
from luminet_mm.teachers.classes import check_classes

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / 'configs').glob('*.py'))
COCO = [name for name in NAMES if name.endswith('_coco')]
DISTILLED = [
    name
    for name in COCO
    if name.split('_')[0] in 'luminet kd dkd dist fcfd maskkd'.split()
]
CHAIN = 'takd_frcnn_r101_r50_r18_coco'  # its teacher is no zoo's
COMBINED = 'luminet_pkd_frcnn_r101_r18_coco'
BASELINES = sorted(set(COCO) - set(DISTILLED) - {CHAIN})
ONE_GPU = 'luminet_frcnn_r101_r18_1xb8_coco'
# LumiNet with the lr of another batch: number of GPUs, images of each.
BATCHES = {
    ONE_GPU: (1, 8),
    'luminet_frcnn_r101_r18_16xb2_coco': (16, 2),
    'luminet_frcnn_r101_r18_64xb2_coco': (64, 2),
}
PAIRS = {
    'frcnn_r101_r18': 'frcnn_r18_coco',
    'frcnn_r101_r50': 'frcnn_r50_coco',
    'frcnn_r50_mobilenetv2': 'frcnn_mobilenetv2_coco',
    'cascade-rcnn_r101_r18': 'cascade-rcnn_r18_coco',
    'mask-rcnn_r101_r18': 'mask-rcnn_r18_coco',
}
# mdistiller's recipe for detectors, e8c5bb3: Base-Distillation.yaml, DKD/*.
RECIPE = dict(batch=8, lr=0.01, iters=180000, steps=[120000, 160000])
SIDES = [640, 672, 704, 736, 768, 800]
# LumiNet, Table 4: AP, AP50, AP75.
TABLE_4 = dict(
    frcnn_r18_coco='33.26 53.61 35.26',
    kd_frcnn_r101_r18_coco='33.97 54.66 36.62',
    dkd_frcnn_r101_r18_coco='35.05 56.60 37.54',
    luminet_frcnn_r101_r18_coco='35.34 56.82 37.56',
    luminet_frcnn_r101_r18_1xb8_coco='35.34 56.82 37.56',
    takd_frcnn_r101_r50_r18_coco='34.59 55.35 37.12',
)
ROI = dict(signal='roi.cls_score', tau=1.0, loss_weight=1.0)
LOSSES = dict(
    luminet=dict(loss_luminet=dict(ROI, type='luminet_mm.LumiNetLoss')),
    kd=dict(loss_kd=dict(ROI, type='luminet_mm.KDLoss')),
    dkd=dict(
        loss_dkd=dict(ROI, type='luminet_mm.DKDLoss', alpha=1.0, beta=0.25)
    ),
    dist=dict(
        loss_dist=dict(ROI, type='luminet_mm.DISTLoss', beta=1.0, gamma=1.0)
    ),
)
FCFD = dict(
    loss_fcfd=dict(
        type='luminet_mm.FCFDRoILoss',
        signal=['neck', 'roi.cls_score', 'roi.bbox_pred'],
        tau=1.0,
        feature_weight=1.0,
        kd_weight=1.0,
        box_weight=1.0,
        loss_weight=1.0,
    )
)
MASK_KD = dict(
    loss_mask_kd=dict(
        type='luminet_mm.MaskKDLoss', signal='roi.mask', loss_weight=1.0
    )
)
BOXED = 'luminet_boxes_frcnn_r101_r18_coco'
PKD = dict(
    type='luminet_mm.PKDLoss',
    signal='neck',
    levels=[0, 1, 2, 3],
    loss_weight=6.0,
)


def load(name):
    return config_files.load(f'{name}.py')


def header(name):
    return config_files.header(f'{name}.py')


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    """Configs name files from the project's folder."""
    monkeypatch.chdir(ROOT)


# -- what a config says -----------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
def test_header_has_a_command_that_names_the_file(name):
    commands = re.findall(
        r'(?:tools/dist_train\.sh|python tools/train\.py) (\S+)', header(name)
    )
    assert commands and set(commands) == {f'configs/{name}.py'}


@pytest.mark.parametrize('name', COCO)
def test_header_says_what_is_needed_and_known(name):
    text = header(name)
    fields = re.findall(r'^(\w+)  +\S', text, re.MULTILINE)
    assert fields[:3] == ['Needs', 'Run', 'Paper']
    assert 'data/coco' in text and 'on first use' in text
    # None of them was trained on COCO: no number may look like ours.
    assert 'Not run here yet' in ' '.join(text.split())
    assert ('teacher (' in text) == (name in DISTILLED)
    if name in (*DISTILLED, CHAIN):
        assert fields[3:] == ['Derived']
    aps = re.findall(r'AP ([\d.]+), AP50 ([\d.]+), AP75 ([\d.]+)', text)
    assert [' '.join(ap) for ap in aps] == [
        TABLE_4[name] for _ in range(name in TABLE_4)
    ]


def test_each_pair_has_a_baseline_and_luminet():
    assert set(BASELINES) == set(PAIRS.values())
    for pair in PAIRS:
        methods = LOSSES if pair.startswith('frcnn') else ['luminet']
        for method in methods:
            assert f'{method}_{pair}_coco' in DISTILLED
    assert set(BATCHES) <= set(DISTILLED)
    assert len(DISTILLED) == 3 * 4 + 2 + 1 + len(BATCHES) + 3


def test_the_model_index_lists_them():
    text = (ROOT / 'model-index.yml').read_text(encoding='utf-8')
    models = yaml.safe_load(text)['Models']
    listed = [
        m['Name']
        for m in models
        if m['Name'].endswith('_coco') and m['Config'].count('/') == 1
    ]
    assert sorted(listed) == COCO
    for model in models:
        if model['Name'] in COCO:
            cfg = load(model['Name'])
            assert model['Metadata']['Iterations'] == cfg.train_cfg.max_iters
            # Results are measured ones, and none was measured.
            assert 'Results' not in model and 'Weights' not in model


def test_no_two_configs_share_a_name():
    """MIM looks a config up by its base name, in all folders."""
    names = [
        path.name
        for path in (ROOT / 'configs').rglob('*.py')
        if '_base_' not in path.parts
    ]
    stock = {
        path.name
        for path in Path(get_installed_path('mmdet'), '.mim/configs').rglob(
            '*.py'
        )
    }
    assert len(names) == len(set(names))
    assert not stock & set(names)


# -- what it refers to ------------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
def test_every_type_is_registered(name):
    cfg = load(name)
    hooks = list(cfg.get('default_hooks', {}).values())
    for hook in hooks + list(cfg.get('custom_hooks', [])):
        assert resolves(HOOKS, hook), hook
    for phase in ('train', 'val', 'test'):
        loader = cfg[f'{phase}_dataloader']
        dataset = inner(loader.dataset)
        assert resolves(DATASETS, dataset)
        for transform in dataset.pipeline:
            assert resolves(TRANSFORMS, transform), transform
        for key in ('sampler', 'batch_sampler'):
            assert key not in loader or resolves(DATA_SAMPLERS, loader[key])
        if 'type' in cfg[f'{phase}_cfg']:
            assert resolves(LOOPS, cfg[f'{phase}_cfg'])
    assert resolves(METRICS, cfg.val_evaluator)
    assert cfg.val_evaluator.type == cfg.test_evaluator.type
    assert cfg.val_evaluator.type == 'FasterCocoMetric'
    for loss in cfg.model.get('distill', {}).values():
        assert resolves(MODELS, loss)


@pytest.mark.parametrize('name', NAMES)
def test_a_saved_config_is_the_same(name):
    """A run dumps its config, and checkpoints carry it as text."""
    cfg = load(name)
    again = Config.fromstring(cfg.pretty_text, '.py')
    assert again.to_dict() == cfg.to_dict()


def test_an_installed_copy_resolves(tmp_path, monkeypatch):
    """MIM reads configs from `luminet_mm/.mim`, from any folder."""
    mim = tmp_path / 'luminet_mm' / '.mim'
    shutil.copytree(ROOT / 'configs', mim / 'configs')
    monkeypatch.chdir(tmp_path)
    for name in (ONE_GPU, 'luminet_mask-rcnn_r101_r18_coco'):
        cfg = Config.fromfile(mim / 'configs' / f'{name}.py')
        assert cfg.to_dict() == load(name).to_dict()


# -- the recipe -------------------------------------------------------------


@pytest.mark.parametrize('name', COCO)
def test_schedule_is_the_published_one(name):
    cfg = load(name)
    gpus, each = BATCHES.get(name, (8, 2))
    assert cfg.train_dataloader.batch_size == each
    images = gpus * each
    # Linear scaling: as much lr per image, as many images per phase.
    warmup, steps = cfg.param_scheduler
    optimizer = cfg.optim_wrapper.optimizer
    scale = images / RECIPE['batch']
    assert optimizer.lr == RECIPE['lr'] * scale
    assert cfg.train_cfg.max_iters * scale == RECIPE['iters']
    assert [step * scale for step in steps.milestones] == RECIPE['steps']
    assert steps.end == cfg.train_cfg.max_iters and steps.gamma == 0.1
    # Detectron2's defaults; not fewer iterations for a larger lr.
    assert warmup.start_factor == 0.001
    assert warmup.end == max(1000 / scale, 500)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 0.0001)
    # --auto-scale-lr changes nothing there, and nothing without the flag.
    assert cfg.auto_scale_lr.base_batch_size == images
    assert not cfg.auto_scale_lr.enable
    # All of it counts iterations.
    assert cfg.train_cfg.type == 'IterBasedTrainLoop'
    assert not any(s.by_epoch for s in cfg.param_scheduler)
    assert not cfg.log_processor.by_epoch
    assert not cfg.default_hooks.checkpoint.by_epoch
    assert cfg.train_cfg.val_interval * 9 == cfg.train_cfg.max_iters
    assert cfg.default_hooks.checkpoint.interval == cfg.train_cfg.val_interval
    assert cfg.train_dataloader.sampler.type == 'InfiniteSampler'
    assert cfg.train_dataloader.persistent_workers


@pytest.mark.parametrize('name', COCO)
def test_images_and_rois_are_those_of_the_recipe(name):
    cfg = load(name)
    pipeline = cfg.train_dataloader.dataset.pipeline
    resize = pipeline[2]
    assert resize.scales == [(1333, side) for side in SIDES]
    assert resize.keep_ratio and pipeline[3].prob == 0.5
    assert cfg.val_dataloader.dataset.pipeline[1].scale == (1333, 800)
    masks = 'mask' in name
    assert bool(pipeline[1].get('with_mask')) == masks
    assert cfg.val_evaluator.metric == (['bbox', 'segm'] if masks else 'bbox')
    stages = cfg.model.train_cfg.rcnn
    for stage in stages if isinstance(stages, list) else [stages]:
        sampler = stage.sampler
        assert (sampler.num, sampler.pos_fraction) == (512, 0.25)
        assert sampler.add_gt_as_proposals


@pytest.mark.parametrize('pair', PAIRS)
def test_methods_of_a_pair_differ_only_in_the_loss(pair):
    baseline = plain(load(PAIRS[pair]).to_dict())
    names = [name for name in DISTILLED if name.endswith(f'_{pair}_coco')]
    teachers = []
    for name in names:
        method = name.split('_')[0]
        cfg = load(name)
        # What remains without teacher and losses is the baseline.
        stock = plain(stock_config(cfg).to_dict())
        assert stock.pop('custom_hooks') == []
        stock['model']['type'] = baseline['model']['type']
        assert stock == baseline
        if name == BOXED:
            assert cfg.model.teacher.pop('boxes_per_step') == 512
        teachers.append(plain(cfg.model.teacher))
        check, *schedule = cfg.custom_hooks
        assert check.type == 'luminet_mm.TeacherCheckHook'
        if name == COMBINED:
            assert plain(cfg.model.distill.pop('loss_pkd')) == PKD
        if 'cascade' not in pair and name != BOXED:
            losses = dict(LOSSES, fcfd=FCFD, maskkd=MASK_KD)
            assert plain(cfg.model.distill) == losses[method]
        if method == 'luminet':
            (schedule,) = schedule
            assert schedule.pop('type') == 'luminet_mm.DistillScheduleHook'
            assert set(schedule) == set(cfg.model.distill)
            assert all(s == dict(warmup=1000) for s in schedule.values())
        else:
            assert not schedule
    assert teachers and all(t == teachers[0] for t in teachers)


@pytest.mark.parametrize('name', [BOXED, 'luminet_boxes_frcnn_digits'])
def test_what_distill_py_trains(name):
    """The recipe for one's own data, as configs on COCO and the digits."""
    cfg = load(name)
    teacher = teacher_config(cfg.model.teacher.config)
    recipe = recipe_for(stock_config(cfg), teacher)
    assert plain(cfg.model.distill) == plain(recipe.losses)
    boxes = cfg.model.teacher.boxes_per_step
    assert dict(boxes_per_step=boxes) == recipe.teacher


def test_a_cascade_has_a_loss_per_stage():
    cfg = load('luminet_cascade-rcnn_r101_r18_coco')
    weights = cfg.model.roi_head.stage_loss_weights
    assert len(weights) == len(cfg.model.distill) == 3
    for stage, loss in enumerate(cfg.model.distill.values()):
        assert loss.signal == f'roi.{stage}.cls_score'
        assert loss.loss_weight == weights[stage]


@pytest.mark.parametrize('name', BATCHES)
def test_other_batches_see_the_same_images_with_the_same_loss(name):
    other = load(name)
    eight = load('luminet_frcnn_r101_r18_coco')
    changed = {
        key
        for key in eight
        if key != 'custom_hooks' and plain(other[key]) != plain(eight[key])
    }
    assert changed - {'train_dataloader'} == {
        'train_cfg',
        'optim_wrapper',
        'auto_scale_lr',
        'param_scheduler',
        'default_hooks',
    }
    assert set(other) == set(eight)
    assert other.custom_hooks[0] == eight.custom_hooks[0]
    # As many images, but not fewer iterations for a larger lr.
    gpus, each = BATCHES[name]
    assert other.custom_hooks[1].loss_luminet.warmup == max(
        eight.custom_hooks[1].loss_luminet.warmup,
        eight.custom_hooks[1].loss_luminet.warmup * 16 // (gpus * each),
    )


def test_a_chain_goes_on_from_its_first_link():
    cfg, first = load(CHAIN), load('kd_frcnn_r101_r50_coco')
    assert cfg.model.teacher == dict(
        config='configs/kd_frcnn_r101_r50_coco.py',
        checkpoint=(
            'work_dirs/kd_frcnn_r101_r50_coco/'
            f'iter_{first.train_cfg.max_iters}.pth'
        ),
    )
    # The link differs from plain KD in the teacher alone.
    direct = load('kd_frcnn_r101_r18_coco')
    check = cfg.custom_hooks[0]
    assert direct.custom_hooks[0].min_metric - check.min_metric < 0.05
    check.min_metric = direct.custom_hooks[0].min_metric
    cfg.model.teacher = direct.model.teacher
    assert plain(cfg.to_dict()) == plain(direct.to_dict())


@pytest.mark.parametrize('name', DISTILLED)
def test_teacher_is_the_zoos_and_sees_what_the_student_sees(name):
    cfg = load(name)
    teacher = cfg.model.teacher
    package, path = teacher.config.split('::')
    entry = zoo(path.split('/')[0])[path]
    assert package == 'mmdet' and entry['Weights'] == teacher.checkpoint
    # A broken teacher stops the run; the zoo's own does not.
    check = cfg.custom_hooks[0]
    ap = entry['Results'][0]['Metrics']['box AP']
    assert 0.5 < ap - 100 * check.min_metric < 2.5
    assert check.metric == 'coco/bbox_mAP'
    # The text of the header is right.
    assert f'teacher ({ap} AP' in header(name)
    theirs = teacher_config(teacher.config).model
    for key in ('mean', 'std', 'bgr_to_rgb'):
        assert (
            theirs.data_preprocessor[key] == cfg.model.data_preprocessor[key]
        )
    assert theirs.data_preprocessor.bgr_to_rgb
    assert theirs.roi_head.type == cfg.model.roi_head.type


# -- a step -----------------------------------------------------------------


def bbox_head(model):
    head = model.roi_head.bbox_head
    return head[0] if isinstance(head, list) else head


def small_batch(cfg):
    data = batch(size=64, masks='mask_head' in cfg.model.roi_head)
    for number, sample in enumerate(data['data_samples']):
        sample.set_metainfo(dict(img_id=number))
        labels = sample.gt_instances.labels
        labels.clamp_(max=bbox_head(cfg.model).num_classes - 1)
    return data


@pytest.mark.parametrize('name', NAMES)
def test_one_step(name):
    cfg = load(name)
    model, log, trained, untouched = take_step(cfg, small_batch(cfg))
    assert all(value.isfinite() for value in log.values())
    for part in ('backbone', 'neck', 'rpn_head', 'roi_head'):
        assert any(key.startswith(f'{part}.') for key in trained), part
    assert set(cfg.model.get('distill', {})) <= set(log)
    assert all(log[key] > 0 for key in cfg.model.get('distill', {}))
    # DDP waits for the gradient of every trainable parameter.
    wrapper = cfg.get('model_wrapper_cfg', {})
    assert bool(untouched) == wrapper.get('static_graph', False)
    if name in COCO:
        # FCFD's bridges have some that are trained
        model._modules.pop('distill', None)
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        assert norms and not any(norm.training for norm in norms)
        assert not any(p.requires_grad for n in norms for p in n.parameters())


# -- before the data are there ----------------------------------------------


def lay_out(root, classes, files, folders):
    """Make a data set's folder with one photo, of a box of each class."""
    box = dict(image_id=1, bbox=[8, 8, 32, 32], area=1024, iscrowd=0)
    # a mask for Mask R-CNN
    box['segmentation'] = [[8, 8, 40, 8, 40, 40, 8, 40]]
    content = dict(
        images=[dict(id=1, file_name='1.png', width=64, height=64)],
        annotations=[
            dict(box, id=i + 1, category_id=i) for i in range(len(classes))
        ],
        categories=[dict(id=i, name=name) for i, name in enumerate(classes)],
    )
    for folder in folders:
        (root / folder).mkdir(parents=True)
        Image.new('RGB', (64, 64)).save(root / folder / '1.png')
    for file in files:
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text(json.dumps(content))


@pytest.mark.parametrize('name', COCO)
def test_missing_coco_is_named_before_anything_is_built(
    name, tmp_path, monkeypatch
):
    cfg = load(name)
    if name == CHAIN:
        # its first link is trained here
        link = load('frcnn_r18_coco').to_dict()
        cfg.model.teacher.update(config=link, checkpoint=None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as error:
        check_config(cfg)
    train, val, evaluator = str(error.value).splitlines()[1:]
    assert 'train_dataloader.dataset.data_root: no folder data/coco/' in train
    assert 'val_dataloader.dataset.data_root: no folder data/coco/' in val
    assert 'val_evaluator.ann_file' in evaluator
    assert 'prepare_coco.py' in train
    lay_out(
        Path('data/coco'),
        CocoDataset.METAINFO['classes'],
        [f'annotations/instances_{s}2017.json' for s in ('train', 'val')],
        ['train2017', 'val2017'],
    )
    check_config(cfg)


def test_a_link_that_is_not_trained_is_named(tmp_path):
    cfg = load(CHAIN)
    cfg.model.teacher.checkpoint = str(tmp_path / 'iter_90000.pth')
    with pytest.raises(ConfigError) as error:
        check_config(cfg)
    (line,) = re.findall(r'.*teacher\.checkpoint.*', str(error.value))
    assert f'no file {tmp_path}/iter_90000.pth; ' in line
    assert 'train configs/kd_frcnn_r101_r50_coco.py first' in line


# -- docs/configs.md --------------------------------------------------------


@pytest.fixture(scope='module')
def page():
    return (ROOT / 'docs' / 'configs.md').read_text(encoding='utf-8')


def test_the_page_lists_every_config(page):
    rows = re.findall(r'^\| `([\w-]+)\.py` \|(.+)$', page, re.MULTILINE)
    assert sorted(name for name, _ in rows) == COCO
    original = (ROOT / 'docs' / 'reproduce.md').read_text(encoding='utf-8')
    for name, figure in TABLE_4.items():
        row = re.search(rf'^\| `{name}\.py` \|(.+)$', original, re.MULTILINE)
        cells = [cell.strip() for cell in row[1].split('|')]
        assert cells[:2] == [figure.split()[0], '']


def test_the_example_for_own_data_runs(tmp_path, monkeypatch):
    page = (ROOT / 'docs' / 'own-data.md').read_text(encoding='utf-8')
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r'```python\n# (configs/\S+\.py)\n(.*?)```', page, re.S
    )
    assert len(blocks) == 3
    for path, text in blocks:
        assert not Path(path).exists()
        Path(path).write_text(text)
    teacher, student = (Config.fromfile(path) for path, _ in blocks[1:])

    dataset = student.train_dataloader.dataset
    lay_out(
        Path(dataset.data_root),
        dataset.metainfo.classes,
        [dataset.ann_file, student.val_dataloader.dataset.ann_file],
        [dataset.data_prefix.img],
    )
    check_config(teacher, phases=('train', 'val', 'test'))
    with pytest.raises(ConfigError, match='1 fault.*\n.*teacher.checkpoint'):
        check_config(student)
    checkpoint = Path(student.model.teacher.checkpoint)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    check_config(student, phases=('train', 'val', 'test'))

    model, log, _, _ = take_step(student, small_batch(student))
    assert log['loss_luminet'] > 0
    classes = len(dataset.metainfo.classes)
    assert model.roi_head.bbox_head.num_classes == classes
    assert model.teacher.model.roi_head.bbox_head.num_classes == classes
    check_classes(model.teacher.classes, dataset.metainfo.classes)


def test_commands_of_the_page_reach_the_config(page):
    """Every key that the page sets on the command line exists."""
    options = re.findall(r'--cfg-options ((?:\S+=\S+\s*(?:\\\n\s*)?)+)', page)
    assert options
    cfg = load('luminet_frcnn_r101_r18_coco')
    for line in options:
        for key in re.findall(r'([\w.]+)=', line):
            node = cfg
            for part in key.split('.'):
                node = node[int(part)] if part.isdigit() else node[part]
