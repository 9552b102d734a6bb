"""What check_config finds, and what it lets pass."""

import copy
import json
import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from PIL import Image
from tiny import CLASSES, distiller

from luminet_mm.preflight import (
    ConfigError,
    check_annotations,
    check_config,
    leaf_datasets,
)

LOSS = dict(type='luminet_mm.LumiNetLoss', signal='roi.cls_score')


@pytest.fixture
def data(tmp_path):
    """A data set's folder with one annotation file."""
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (100, 80)).save(tmp_path / 'images/a.png')
    write_categories(tmp_path, CLASSES)
    return tmp_path


def write_categories(folder, names, file='train.json'):
    """Write an annotation file of one image with a box per category."""
    size = dict(width=100, height=80)
    box = dict(image_id=1, bbox=[10, 20, 30, 40], area=1200)
    content = dict(
        images=[dict(id=1, file_name='a.png', **size)],
        annotations=[
            dict(id=i, category_id=i, **box) for i, _ in enumerate(names)
        ],
        categories=[dict(id=i, name=name) for i, name in enumerate(names)],
    )
    (folder / file).write_text(json.dumps(content))


@pytest.fixture(scope='module')
def base():
    """A distiller's model, read once."""
    return distiller()


@pytest.fixture
def config(data, base):
    torch.save({}, data / 'teacher.pth')
    dataset = dict(
        type='CocoDataset',
        data_root=str(data),
        ann_file='train.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=CLASSES),
    )
    model = copy.deepcopy(base)
    model.teacher.checkpoint = str(data / 'teacher.pth')
    block = model.teacher.config.model.to_dict()
    (data / 'teacher.py').write_text(f'model = {block!r}')
    model.teacher.config = str(data / 'teacher.py')
    return Config(
        dict(
            model=model,
            default_scope='mmdet',
            train_dataloader=dict(dataset=dataset),
            val_dataloader=dict(dataset=copy.deepcopy(dataset)),
            val_evaluator=dict(
                type='CocoMetric', ann_file=str(data / 'train.json')
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            val_cfg=dict(),
        )
    )


def problems(config, **kwargs):
    with pytest.raises(ConfigError) as error:
        check_config(config, **kwargs)
    return str(error.value).splitlines()[1:]


def problem(config, **kwargs):
    (line,) = problems(config, **kwargs)
    return line


def test_a_good_config_passes(config):
    check_config(config)


def test_all_faults_are_reported_at_once(config, data):
    config.model.distill = dict(luminet=dict(LOSS, tau=0))
    config.load_from = 'gone.pth'
    (data / 'teacher.pth').unlink()
    lines = problems(config)
    assert len(lines) == 4
    for part in (
        'loss_luminet',
        'tau is 0',
        'load_from',
        'teacher.checkpoint',
    ):
        assert sum(part in line for line in lines) >= 1


@pytest.mark.parametrize('key', ['config', 'checkpoint'])
def test_teacher_file_missing(config, key):
    config.model.teacher[key] = 'gone'
    line = problem(config)
    assert f'model.teacher.{key}: no file gone; ' in line
    assert 'give a path' in line


def test_teacher_that_is_not_trained_yet(config):
    config.model.teacher.checkpoint = 'work_dirs/teacher/epoch_2.pth'
    assert (
        'model.teacher.checkpoint: no file work_dirs/teacher/epoch_2.pth; '
        f'train {config.model.teacher.config} first, or give a path'
    ) in problem(config)
    config.model.teacher.config = 'gone'
    assert not any('first' in line for line in problems(config))


@pytest.mark.parametrize('key', ['config', 'checkpoint'])
def test_teacher_key_missing(config, key):
    config.model.teacher.pop(key)
    assert f'model.teacher.{key}: missing' in problem(config)


def test_no_teacher(config):
    config.model.pop('teacher')
    assert 'model.teacher: missing; add teacher=dict' in problem(config)


def test_no_losses(config):
    config.model.distill = {}
    assert 'model.distill: missing; name at least one' in problem(config)


def test_teacher_from_a_package(config):
    config.model.teacher.config = (
        'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    )
    config.model.teacher.checkpoint = 'https://example.org/a.pth'
    check_config(config)
    config.model.teacher.config = 'mmdet::faster_rcnn/gone.py'
    assert 'faster_rcnn/gone.py' in problem(config)
    config.model.teacher.config = 'mmgone::a.py'
    assert 'mmgone, which is not installed' in problem(config)


def test_random_teacher_and_inline_config_are_allowed(config):
    config.model = distiller()
    check_config(config)


@pytest.mark.parametrize('tau', [0, -1, 'hot'])
def test_tau(config, tau):
    config.model.distill.loss_luminet.tau = tau
    line = problem(config)
    assert f'model.distill.loss_luminet: LumiNetLoss: tau is {tau!r}' in line
    assert '> 0' in line


@pytest.mark.parametrize(
    'change, message',
    [
        (
            dict(type='luminet_mm.LumiNetLos'),
            ".type: 'luminet_mm.LumiNetLos' is not a registered loss; did you "
            "mean 'luminet_mm.LumiNetLoss'?",
        ),
        (
            dict(type='KDLoss'),
            "'KDLoss' is not a registered loss; did you mean "
            "'luminet_mm.KDLoss'?",
        ),
        (dict(type=5), '.type: 5 is not the name of a loss'),
        (dict(type=None), '.type: missing; name a loss'),
        (
            dict(temperature=2.0),
            ".temperature: LumiNetLoss has no option 'temperature'. It has "
            'tau, ',
        ),
        (dict(taw=2.0), "no option 'taw'; did you mean 'tau'?"),
        (dict(row='all'), "did you mean 'rows'? It has tau, "),
        (dict(loss_wight=2.0), "did you mean 'loss_weight'?"),
        (dict(loss_weight=-1.0), 'loss_weight is -1'),
        (dict(signal=None), 'say what it compares'),
        (dict(type='L1Loss', tau=None), 'L1Loss is no distillation loss'),
    ],
)
def test_loss_that_cannot_be_built(config, change, message):
    """Types without a scope are looked up in the config's own scope."""
    loss = {**config.model.distill.loss_luminet, **change}
    config.model.distill.loss_luminet = {
        key: value for key, value in loss.items() if value is not None
    }
    line = problem(config)
    assert 'model.distill.loss_luminet' in line and message in line


def test_loss_key_without_prefix(config):
    config.model.distill = dict(kd=LOSS)
    assert 'must start with `loss_`' in problem(config)
    assert 'rename it to loss_kd' in problem(config)


def test_pretrained_backbone_missing(config):
    config.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint='gone.pth'
    )
    assert 'model.backbone.init_cfg.checkpoint: no file' in problem(config)
    config.model.backbone.init_cfg.checkpoint = 'torchvision://resnet18'
    check_config(config)


def test_load_from(config):
    config.load_from = 'gone.pth'
    assert 'load_from: no file gone.pth' in problem(config)
    config.load_from = 'https://example.org/a.pth'
    check_config(config)


def test_missing_annotations_and_images(config, data):
    shutil.rmtree(data / 'images')
    config.train_dataloader.dataset.ann_file = 'gone.json'
    lines = problems(config)
    assert 'train_dataloader.dataset.ann_file' in lines[0]
    assert f'{data}/gone.json' in lines[0]
    assert 'train_dataloader.dataset.data_prefix.img' in lines[1]
    assert 'val_dataloader.dataset.data_prefix.img' in lines[2]
    keys = [line.split(':')[0].removeprefix('  - ') for line in lines]
    assert all(f'or change {key}' in line for key, line in zip(keys, lines))


def test_hint_of_the_tool_for_coco_alone(config):
    """Somebody with data of their own has no use for it."""
    dataset = config.train_dataloader.dataset
    own = 'put the data there, or change train_dataloader.dataset.data_root'
    dataset.data_root = 'gone/coco/'  # its classes are not COCO's
    assert own in problem(config)
    dataset.pop('metainfo')
    assert 'prepare_coco.py` says what' in problem(config)
    dataset.data_root = 'gone/cells/'
    dataset.ann_file = 'cells.json'
    assert own in problem(config)
    dataset.ann_file = 'annotations/instances_train2017.json'
    assert 'prepare_coco.py` says what' in problem(config)


def test_number_of_classes_of_every_head(config):
    """A stock student as well: one too few becomes the background."""
    model = config.model
    model.roi_head.bbox_head.num_classes = 3
    (line,) = problems(config)
    assert 'model.roi_head.bbox_head.num_classes: 3, but' in line
    assert '4 classes (cat, dog, hen, ...); set it to 4' in line
    for key in ('teacher', 'distill'):
        model.pop(key)
    model.type = 'FasterRCNN'
    assert 'bbox_head.num_classes: 3' in problem(config)
    head = model.roi_head.bbox_head
    model.roi_head.bbox_head = [dict(head, num_classes=4), head]
    assert 'bbox_head.1.num_classes: 3' in problem(config)
    head.pop('num_classes')  # mmdet's default
    model.roi_head.bbox_head = head
    assert 'bbox_head.num_classes: 80, but' in problem(config)
    head.num_classes = 4
    model.roi_head.mask_head = dict(type='FCNMaskHead', num_classes=5)
    assert 'roi_head.mask_head.num_classes: 5' in problem(config)


def test_classes_of_validation_and_test(config, data):
    """They count in the order of their own data set."""
    (data / 'val.json').write_text((data / 'train.json').read_text())
    val = config.val_dataloader.dataset
    val.ann_file = 'val.json'
    config.val_evaluator.ann_file = str(data / 'val.json')
    write_categories(data, ['hen', 'cat', 'dog', 'cow'], 'val.json')
    val.metainfo.classes = ('hen', 'cat', 'dog', 'cow')
    line = problem(config)
    assert 'val_dataloader.dataset: its classes differ from those of train_d'
    assert "number 0 is 'hen', not 'cat'" in line
    write_categories(data, ['cat', 'hen', 'cow'], 'val.json')
    val.metainfo.classes = ('cat', 'hen', 'cow')
    config.test_dataloader = config.val_dataloader
    lines = problems(config, phases=('test', 'train'))
    assert 'test_dataloader.dataset: ' in lines[0]
    assert "without 'dog'" in lines[0]


def test_a_class_twice(config):
    config.train_dataloader.dataset.metainfo.classes = ['cat', 'cat']
    config.val_dataloader.dataset.metainfo.classes = ['cat', 'cat']
    assert any("'cat' twice" in line for line in problems(config))


def test_missing_data_root_is_one_line(config):
    config.train_dataloader.dataset.data_root = 'data/gone/'
    assert 'data_root: no folder data/gone/' in problem(config)


def test_missing_evaluator_file(config):
    config.val_evaluator = [dict(type='CocoMetric', ann_file='gone.json')]
    assert 'val_evaluator.ann_file: no file gone.json' in problem(config)


@pytest.mark.parametrize(
    'wrap, where',
    [
        (lambda d: dict(type='RepeatDataset', times=2, dataset=d), '.dataset'),
        (
            lambda d: dict(type='ClassBalancedDataset', dataset=d),
            '.dataset',
        ),
        (
            lambda d: dict(type='ConcatDataset', datasets=[d]),
            '.datasets.0',
        ),
        (
            lambda d: dict(
                type='RepeatDataset',
                dataset=dict(type='ConcatDataset', datasets=[d]),
            ),
            '.dataset.datasets.0',
        ),
    ],
)
def test_wrapped_data_sets(config, wrap, where):
    config.train_dataloader.dataset = wrap(config.train_dataloader.dataset)
    check_config(config)
    inner = config.train_dataloader.dataset
    while 'ann_file' not in inner:
        inner = inner.get('dataset') or inner['datasets'][0]
    inner['ann_file'] = 'gone.json'
    assert f'train_dataloader.dataset{where}.ann_file' in problem(config)


def test_phases(config):
    config.val_dataloader.dataset.ann_file = 'gone.json'
    assert 'val_dataloader' in problem(config)
    check_config(config, phases=('train',))
    for key in ('dataloader', 'evaluator', 'cfg'):
        config[f'test_{key}'] = config[f'val_{key}']
    assert 'test_dataloader' in problem(config, phases=('test',))
    # Testing takes the student alone.
    config.model.pop('teacher')
    assert 'test_dataloader' in problem(config, phases=('test',))


def test_missing_categories_are_named(config, data):
    write_categories(data, ['cat', 'wolf', 'hen'])
    line = problems(config)[0]
    assert 'train_dataloader.dataset.ann_file' in line
    assert f'{data / "train.json"} lacks 2 of 4 needed categories' in line
    assert 'dog, cow (it has cat, wolf, hen)' in line


def test_the_classes_of_the_data_set_count_by_default(config):
    config.train_dataloader.dataset.pop('metainfo')
    line = problem(config)
    assert 'of 80 needed categories: person' in line


def test_further_categories_are_fine(config, data):
    write_categories(data, ['ant', 'cat', 'dog', 'wolf', 'hen', 'cow'])
    check_config(config)


def test_order_of_categories(config, data):
    """CocoDataset numbers by the file's order, whatever `classes` says."""
    write_categories(data, ['cat', 'hen', 'dog', 'cow'])
    line = problems(config)[0]
    assert "number 1 is 'hen' in the file and 'dog' in the config" in line


def test_a_category_twice(config, data):
    write_categories(data, [*CLASSES, 'cow'])
    assert "or twice: number 4 is 'cow' in the file;" in problems(config)[0]


def test_classes_from_a_file(config, data):
    names = data / 'names.txt'
    names.write_text('\n'.join(CLASSES))
    config.train_dataloader.dataset.metainfo.classes = str(names)
    check_config(config)
    names.write_text('cat\nwolf')
    assert 'needed categories: wolf' in problem(config)


def test_single_class_without_its_comma(config):
    config.train_dataloader.dataset.metainfo.classes = 'cat'
    assert "written ('cat', ) with a comma" in problem(config)


def test_broken_annotation_file(config, data):
    (data / 'train.json').write_text('{"images": [')
    assert 'is not JSON' in problems(config)[0]


def test_data_that_are_made_on_first_use_pass(config):
    digits = dict(
        type='luminet_mm.DigitsDataset', split='train', data_root='data/gone/'
    )
    config.train_dataloader.dataset = digits
    config.val_dataloader.dataset = dict(type='RepeatDataset', dataset=digits)
    config.val_evaluator.ann_file = 'data/gone/val.json'
    config.model.roi_head.bbox_head.num_classes = 10
    check_config(config)


def test_remote_data_pass(config):
    config.train_dataloader.dataset.data_root = 's3://bucket/coco/'
    config.val_dataloader.dataset.update(
        data_root='gone', backend_args=dict(backend='petrel')
    )
    check_config(config)


def test_a_stock_config_passes(config):
    for key in ('teacher', 'distill'):
        config.model.pop(key)
    config.model.type = 'FasterRCNN'
    check_config(config)


def test_built_data_sets_are_checked_likewise(config, data):
    dataset = config.train_dataloader.dataset
    lazy = dict(lazy_init=True)  # the file lists no images
    dataset.update(lazy, pipeline=[])
    wrapped = dict(
        lazy,
        type='RepeatDataset',
        times=2,
        dataset=dict(lazy, type='ConcatDataset', datasets=[dataset, dataset]),
    )
    leaves = leaf_datasets(DATASETS.build(wrapped))
    assert [type(leaf).__name__ for leaf in leaves] == ['CocoDataset'] * 2
    check_annotations([*leaves, object()])
    write_categories(data, ['cat', 'wolf', 'hen', 'cow'])
    with pytest.raises(ConfigError) as error:
        check_annotations(leaf_datasets(DATASETS.build(wrapped)))
    (line,) = str(error.value).splitlines()[1:]
    assert line.removeprefix('  - ') in problems(config)[0]
