"""ImageNet's configs for many GPUs: the released one with another lr."""

import ast
import copy
import functools
import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from tiny_cls import batch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'configs' / 'imagenet'
RELEASED = 'luminet_resnet34_resnet18_in1k'
GPUS = {
    'luminet_resnet34_resnet18_16xb64_in1k': 16,
    'luminet_resnet34_resnet18_64xb64_in1k': 64,
}
each_config = pytest.mark.parametrize('name', GPUS)


@functools.cache
def _resolve(name):
    return Config.fromfile(FOLDER / f'{name}.py')


def load(name):
    return copy.deepcopy(_resolve(name))


def test_all_of_them_are_tested_here():
    assert set(GPUS) == {path.stem for path in FOLDER.glob('*_*xb*.py')}


@each_config
def test_header(name):
    source = (FOLDER / f'{name}.py').read_text(encoding='utf-8')
    text = ast.get_docstring(ast.parse(source))
    fields = re.findall(r'^(\w+)  +\S', text, re.MULTILINE)
    assert fields == ['Needs', 'Run', 'Paper', 'Derived']
    assert 'Not run here yet' in ' '.join(text.split())
    (command,) = re.findall(r'NNODES=(\d+) .*dist_train\.sh\s+(.+)', text)
    assert int(command[0]) * 8 == GPUS[name]
    assert command[1] == f'configs/imagenet/{name}.py 8'


@each_config
def test_only_lr_and_warm_up_differ(name):
    cfg, released = load(name), load(RELEASED)
    scale = GPUS[name] / 8
    images = GPUS[name] * cfg.train_dataloader.batch_size
    assert f'{images} images' in (FOLDER / f'{name}.py').read_text()
    # linear scaling, from the released lr up
    base = released.auto_scale_lr.base_batch_size
    lr = released.optim_wrapper.optimizer.lr
    assert images == base * scale
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr * scale)
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=images)
    warmup, steps = cfg.param_scheduler
    assert warmup.start_factor == 1 / scale
    assert warmup.end == 5 and warmup.convert_to_iter_based
    wanted = released.param_scheduler.to_dict()
    wanted.pop('_scope_', None)
    assert steps == wanted
    for key in ('optim_wrapper', 'auto_scale_lr', 'param_scheduler'):
        cfg.pop(key), released.pop(key)
    assert cfg.to_dict() == released.to_dict()


@each_config
def test_one_step(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = load(name)
    cfg.model.teacher.checkpoint = None
    cfg.model.data_preprocessor = cfg.data_preprocessor
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model).train()
        optim = build_optim_wrapper(model, cfg.optim_wrapper)
    log = model.train_step(batch(num_images=4, size=64), optim)
    assert all(value.isfinite() for value in log.values())
    assert log['loss_luminet'] > 0


@each_config
def test_the_model_index_and_the_page_list_it(name):
    index = (ROOT / 'model-index.yml').read_text(encoding='utf-8')
    (entry,) = [
        m for m in yaml.safe_load(index)['Models'] if m['Name'] == name
    ]
    assert entry['Config'] == f'configs/imagenet/{name}.py'
    assert entry['Metadata'] == dict(Epochs=load(name).train_cfg.max_epochs)
    assert 'Results' not in entry and 'Weights' not in entry
    page = (ROOT / 'docs' / 'distributed.md').read_text(encoding='utf-8')
    assert f'`{name}.py`' in page
