"""Configs that two cores can run: handwritten digits, a tenth of CIFAR-10."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, DefaultScope
from PIL import Image
from tiny_cls import batch

from luminet_mm.stock import stock_config

ROOT = Path(__file__).parents[2]
PATHS = [
    path.relative_to(ROOT)
    for folder in ('handwritten', 'cifar10')
    for path in sorted((ROOT / 'configs' / folder).glob('*.py'))
]
STUDENTS = {
    'handwritten': 'configs/handwritten/resnet_student_handwritten.py',
    'cifar10': 'configs/cifar10/resnet20_cifar10-tenth.py',
}
each_config = pytest.mark.parametrize('path', PATHS, ids=lambda p: p.stem)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    """Configs name files from the project's folder, types of MMPretrain."""
    monkeypatch.chdir(ROOT)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def loss_of(path):
    """The method in a config's name, None for a network alone."""
    method = path.stem.split('_')[0]
    return None if method.startswith('resnet') else method


@each_config
def test_header_has_its_command(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    run = re.search(r'^Run +python tools/train\.py[\s\\]+(\S+)', text, re.M)
    assert run[1] == str(path)
    assert ('\nDerived  ' in text) == bool(loss_of(path))
    for config in re.findall(r'configs/\S+\.py', text):
        assert Path(config).is_file()


@each_config
def test_one_step(path):
    cfg = Config.fromfile(path)
    if loss_of(path):
        assert list(cfg.model.distill) == [f'loss_{loss_of(path)}']
        cfg.model.teacher.checkpoint = None
        cfg.model.teacher.pop('cache', None)
    cfg.model.data_preprocessor = cfg.data_preprocessor
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    optim = build_optim_wrapper(model.train(), cfg.optim_wrapper)
    raw = batch(num_images=4, size=32)
    for sample in raw['data_samples']:
        sample.set_metainfo(dict(num_classes=10))
    # SimKD's classifier is the teacher's
    # and FCFD's bridges to the student wait until they are drawn
    trained = [
        p
        for key, p in model.named_parameters()
        if p.requires_grad and 'to_student' not in key
    ]
    before = [p.detach().clone() for p in trained]
    log = model.train_step(raw, optim)
    assert all(value.isfinite() for value in log.values())
    for name in cfg.model.get('distill', {}):
        assert log[name] > 0
    assert not any(map(torch.equal, before, trained))


@pytest.mark.parametrize('path', [p for p in PATHS if loss_of(p)], ids=str)
def test_a_method_is_the_student_with_a_loss(path):
    stock = stock_config(Config.fromfile(path)).to_dict()
    alone = Config.fromfile(STUDENTS[path.parent.name]).to_dict()
    model = stock['model']
    model['type'] = 'ImageClassifier'
    # the papers weight cross entropy anew
    model['head']['loss']['loss_weight'] = 1.0
    alone['model']['head']['loss']['loss_weight'] = 1.0
    if loss_of(path) in ('norm', 'simkd'):  # the student has parts of theirs
        for each in (model, alone['model']):
            del each['neck'], each['head']
    assert stock.pop('custom_hooks') == []
    assert stock == alone


@pytest.mark.parametrize(
    ('path', 'per_class'),
    [
        ('resnet20_cifar10-tenth', {500}),
        ('resnet56_cifar10-third', {1666, 1667}),
    ],
)
def test_subsets_of_cifar10_are_balanced(path, per_class):
    cfg = Config.fromfile(f'configs/cifar10/{path}.py')
    # CustomDataset lists the files class after class, 5,000 in each
    counts = Counter(i // 5000 for i in cfg.train_dataloader.dataset.indices)
    assert set(counts) == set(range(10)) and set(counts.values()) == per_class
    assert 'indices' not in cfg.val_dataloader.dataset


def test_the_teacher_of_cifar10_is_in_weights():
    kd = Config.fromfile(
        'configs/cifar10/kd_resnet56_resnet20_cifar10-tenth.py'
    )
    teacher = kd.model.teacher
    model = MODELS.build(Config.fromfile(teacher.config).model)
    saved = torch.load(teacher.checkpoint, weights_only=True)
    model.load_state_dict(saved['state_dict'])
    # trained: the statistics of a norm are not those of the start
    assert model.backbone.stem[1].running_var.std() > 0.01


def test_cifar10_is_read_from_a_folder_per_class(tmp_path):
    cfg = Config.fromfile(STUDENTS['cifar10'])
    for name in ('cat', 'airplane'):
        for split in ('train', 'test'):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(6):
                Image.new('RGB', (32, 32), (255, 0, 0)).save(
                    folder / f'{i}.png'
                )
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = str(tmp_path)
        dataset = DATASETS.build(loader.dataset | dict(indices=[0, 6, 11]))
        assert dataset.get_gt_labels().tolist() == [0, 1, 1]
        assert list(dataset.CLASSES) == ['airplane', 'cat']
        assert dataset[0]['inputs'].shape == (3, 32, 32)
        cfg.data_preprocessor.type = 'ClsDataPreprocessor'
        item = MODELS.build(cfg.data_preprocessor)(
            dict(
                inputs=[dataset[0]['inputs']],
                data_samples=[dataset[0]['data_samples']],
            )
        )
        # red is the first channel of the network's input
        bright = item['inputs'].amax(dim=(0, 2, 3)) > 0
        assert bright.tolist() == [True, False, False]
