"""The three configs that are written: whole, short, and checked."""

import copy
import json
import shutil
from pathlib import Path

import pytest
from mmengine.hub import get_config
from shapes import scenes, write_coco, write_photos

from luminet_mm.files.config_file import read_config
from luminet_mm.preflight import check_config
from luminet_mm.recipe.config_text import WIDTH
from luminet_mm.recipe.configs import write_configs
from luminet_mm.recipe.reading import read_data
from luminet_mm.recipe.request import ROLES, Request


@pytest.fixture(scope='module')
def boxes(tmp_path_factory):
    return write_coco(tmp_path_factory.mktemp('set') / 'set', {'train': 12})


@pytest.fixture(scope='module')
def pair(boxes, tmp_path_factory):
    """The small pair of detectors: request, configs, choices."""
    return written(boxes, tmp_path_factory.mktemp('out') / 'out', seed=3)


@pytest.fixture
def folders(tmp_path):
    for split in ('train', 'val'):
        for name in ('disc', 'square'):
            pictures = [picture for picture, _ in scenes(4)]
            write_photos(tmp_path / 'set' / split / name, pictures)
    return tmp_path / 'set'


def written(root, out, **kwargs):
    request = Request(str(root), str(out), **kwargs)
    data = read_data(Path(root), out / 'annotations')
    choices = write_configs(request, data, 4)
    return request, {r: read_config(request.config(r)) for r in ROLES}, choices


def test_a_small_pair_of_detectors(pair, monkeypatch):
    request, cfgs, choices = pair
    out = Path(request.out)
    monkeypatch.chdir('/')
    for role in ROLES:
        lines = request.config(role).read_text().splitlines()
        assert all(len(each) <= WIDTH or '/' in each for each in lines)
        assert any(each.startswith('Run      python') for each in lines)
        cfg = cfgs[role]
        assert Path(cfg.work_dir).resolve() == out / role
        assert cfg.randomness.seed == 3
        assert cfg.custom_imports.imports == ['luminet_mm']
    check_config(cfgs['student'])
    check_config(cfgs['teacher'], [])
    student, distilled = cfgs['student'].model, cfgs['distilled'].model
    assert distilled.type == 'luminet_mm.TwoStageDistiller'
    assert student.roi_head == distilled.roi_head
    assert cfgs['teacher'].train_cfg.max_epochs == 12
    assert distilled.teacher.boxes_per_step == 64
    last = Path(distilled.teacher.checkpoint).resolve()
    assert last == out / 'teacher/epoch_12.pth'
    theirs = read_config(distilled.teacher.config).model
    assert theirs == cfgs['teacher'].model
    cfg = copy.deepcopy(cfgs['distilled'])
    cfg.model.teacher.checkpoint = None
    check_config(cfg, ['train'])
    names = [choice.name for choice in choices]
    assert names[:3] == ['image size', 'anchors', 'batch size']
    assert {'losses', 'compared', 'start'} <= {*names}


def test_configs_move_with_their_folder(pair, tmp_path):
    shutil.copytree(pair[0].out, tmp_path / 'elsewhere')
    cfg = read_config(tmp_path / 'elsewhere/configs/student.py')
    for path in (
        cfg.train_dataloader.dataset.ann_file,
        cfg.model.backbone.init_cfg.checkpoint,
    ):
        path = Path(path).resolve()
        assert path.is_file() and path.is_relative_to(tmp_path)


def test_a_small_pair_of_classifiers(folders, tmp_path):
    _, cfgs, choices = written(folders, tmp_path / 'out', flip=False)
    check_config(cfgs['student'])
    cfgs['distilled'].model.teacher.checkpoint = None
    check_config(cfgs['distilled'], ['train'])
    assert cfgs['student'].model.head.num_classes == 2
    assert cfgs['distilled'].model.type == 'luminet_mm.ClassifierDistiller'
    assert 'RandomFlip' not in str(cfgs['student'].train_pipeline)
    assert 'mirroring' in [choice.name for choice in choices]


def test_a_teacher_that_is_trained_already(boxes, tmp_path):
    name = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    url = 'https://example.org/a.pth'
    _, cfgs, _ = written(boxes, tmp_path / 'out', teacher=(name, url))
    distilled = cfgs['distilled']
    assert distilled.model.teacher == dict(
        config=name, checkpoint=url, boxes_per_step=64
    )
    check = distilled.custom_hooks[0]
    assert check.type == 'luminet_mm.TeacherCheckHook' and check.evaluate
    assert cfgs['teacher'].model.roi_head.bbox_head.num_classes == 2


def test_hooks_of_the_users_student_stay(boxes, tmp_path):
    name = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
    _, cfgs, _ = written(
        boxes, tmp_path / 'out', student=(name, 'a.pth'), teacher=(name,)
    )
    own = cfgs['student'].custom_hooks
    hooks = cfgs['distilled'].custom_hooks
    assert hooks[: len(own)] == own and len(hooks) == len(own) + 3
    assert cfgs['student'].load_from == str(Path('a.pth').resolve())
    assert cfgs['teacher'].get('load_from') is None


def test_a_pure_python_config_can_be_the_student(boxes, tmp_path):
    get_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py').dump(
        tmp_path / 'base.py'
    )
    path = tmp_path / 'pure.py'
    path.write_text(
        'from mmengine.config import read_base\n\n'
        'with read_base():\n'
        '    from .base import *\n'
    )
    _, cfgs, _ = written(
        boxes, tmp_path / 'out', student=(str(path),), teacher=(str(path),)
    )
    assert cfgs['student'].model.bbox_head.num_classes == 2


def test_annotations_that_are_made_are_whole(pair):
    dataset = pair[1]['student'].val_dataloader.dataset
    content = json.loads(Path(dataset.ann_file).read_text())
    folder = Path(dataset.data_root, dataset.data_prefix.img)
    assert content['images']
    for image in content['images']:
        assert (folder / image['file_name']).is_file()
