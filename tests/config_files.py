"""Read configs of this project and of MMDetection, and make them small."""

import ast
import copy
import functools
import re
from pathlib import Path

import torch
import yaml
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.utils import get_installed_path

ROOT = Path(__file__).parents[1]
SIZES = dict(  # of heads, and of what they keep
    fc_out_channels=32,
    conv_out_channels=32,
    nms_pre=100,
    max_per_img=40,
    num_queries=20,
    feedforward_channels=64,
    num_layers=2,  # of a transformer
)


@functools.cache
def _resolve(path):
    return Config.fromfile(path)


def load(path):
    """A copy of a resolved config; resolving takes most of a second."""
    return copy.deepcopy(_resolve(ROOT / 'configs' / path))


@functools.cache
def teacher_config(where):
    return get_config(where) if '::' in where else Config.fromfile(where)


def plain(node):
    """Without the marks that MMEngine leaves where it merged packages."""
    if isinstance(node, dict):
        return {k: plain(v) for k, v in node.items() if k != '_scope_'}
    if isinstance(node, (list, tuple)):
        return [plain(item) for item in node]
    return node


def header(path):
    """What a config says of itself: its docstring, or its first comment."""
    source = (ROOT / 'configs' / path).read_text(encoding='utf-8')
    text = ast.get_docstring(ast.parse(source))
    if text is None:
        lines = re.match(r'(?:#.*\n)*', source).group().splitlines()
        text = '\n'.join(line.lstrip('# ') for line in lines)
    return text


@functools.cache
def zoo(folder):
    """MMDetection's own list of a detector's checkpoints, by config."""
    path = Path(get_installed_path('mmdet'), '.mim/configs', folder)
    models = yaml.safe_load((path / 'metafile.yml').read_text())['Models']
    return {
        model['Config'].removeprefix('configs/'): model for model in models
    }


def resolves(registry, node):
    with registry.switch_scope_and_registry('mmdet') as current:
        return current.get(node['type']) is not None


def inner(dataset):
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


WIDTH = 256  # of the maps of a pyramid, and of most heads on it


def shrink(node):
    """Make a model small and independent of files, in place."""
    if isinstance(node, (list, tuple)):
        for item in node:
            shrink(item)
    if not isinstance(node, dict):
        return
    if 'init_cfg' in node:
        node['init_cfg'] = None
    if 'sampler' in node:
        node['sampler']['num'] = 32
    if 'backbone' in node:
        _shrink_backbone(node)
        if node.get('neck', {}).get('type') == 'FPN':
            _narrow(node)
    for key, value in node.items():
        if key in SIZES and isinstance(value, int):
            node[key] = min(value, SIZES[key])
        elif key == 'teacher':
            config = copy.deepcopy(teacher_config(value['config']).to_dict())
            shrink(config['model'])
            value.update(config=config, checkpoint=None)
        else:
            shrink(value)


def _narrow(node):
    """Give a pyramid, and the heads that read it, narrow maps."""
    for key, value in node.items():
        if key in ('in_channels', 'out_channels', 'feat_channels'):
            if value == WIDTH:
                node[key] = WIDTH // 8
        elif isinstance(value, dict) and key != 'teacher':
            _narrow(value)
        elif isinstance(value, list):
            for each in value:
                if isinstance(each, dict):
                    _narrow(each)


def _shrink_backbone(node):
    backbone = node['backbone']
    if backbone['type'] == 'ResNet':
        if backbone.setdefault('base_channels', 8) == 8:
            backbone['stem_channels'] = 8
            node['neck']['in_channels'] = [
                channels // 8 for channels in node['neck']['in_channels']
            ]
    elif backbone['type'] == 'SwinTransformer':
        backbone.update(
            embed_dims=24, depths=[1, 1, 1, 1], convert_weights=False
        )
        node['neck']['in_channels'] = [24, 48, 96, 192]


def take_step(cfg, data):
    """Train the config's model on two small images.

    Returns:
        tuple: The model, what it logged, and the names of the trainable
        parameters that had a gradient and that had none.
    """
    shrink(cfg.model)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    model.init_weights()  # a DETR leaves some unset until then
    if 'distill' in cfg.model:
        model.teachers.at_step(0, 0)
    before = {
        key: value.detach().clone() for key, value in model.named_parameters()
    }
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    zero_grad = optim.optimizer.zero_grad
    grads = {}

    def keep(*args, **kwargs):
        # step() is over, the gradients are about to go
        for key, value in model.named_parameters():
            if value.grad is not None:
                grads[key] = value.grad.abs().sum().item()
        zero_grad(*args, **kwargs)

    optim.optimizer.zero_grad = keep
    log = model.train_step(data, optim)
    for key, value in model.named_parameters():
        assert value.isfinite().all(), key
        if grads.get(key):
            assert not value.equal(before[key]), key
        elif key not in grads:
            assert value.equal(before[key]), key
    trained = {k for k, v in model.named_parameters() if v.requires_grad}
    return model, log, trained & set(grads), trained - set(grads)
