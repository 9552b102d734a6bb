"""The self-loss: how far a model is from a teacher that is itself.

The teacher has the student's weights, mirrored: it knows images with their
channels in reverse order, normalised with mean and std in reverse order, and
its first convolution reads them so. What it answers is what the student says,
so every difference is a wrong row, pixel or map.
"""

import copy

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from luminet_mm.distillers import DISTILLERS
from luminet_mm.losses import FeatureLoss
from luminet_mm.registry import MODELS as LUMINET


@LUMINET.register_module(force=True)
class SelfGap(FeatureLoss):
    """Distance of two signals over the teacher's norm.

    Maps of other sizes are resized, as PKD does it. A level that is next to
    nothing (of a group norm over a single place) is measured by the others.
    """

    dims = (2, 3, 4)

    def compute(self, student, teacher, batch):
        terms = []
        least = 1e-3 * max(each.norm() for each in teacher) + 1e-6
        for ours, theirs in zip(student, teacher, strict=True):
            if ours.dim() == 4 and ours.shape[2:] != theirs.shape[2:]:
                ours = nn.functional.interpolate(
                    ours, theirs.shape[2:], mode='bilinear'
                )
            terms.append((ours - theirs).norm() / (theirs.norm() + least))
        return torch.stack(terms).max()


def first_layers(model):
    """What reads the image: convolutions side by side, or a linear layer."""
    layers = [
        module
        for module in model.backbone.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    if isinstance(layers[0], nn.Linear):
        return layers[:1]
    if layers[0].weight.shape[1] == 12:  # of four pixels at once (YOLOX)
        return layers[:1]
    return [
        layer
        for layer in layers
        if isinstance(layer, nn.Conv2d) and layer.weight.shape[1] == 3
    ]


def pointwise(model):
    """Leave of each convolution its middle: no position sees another.

    What a map says then does not depend on how far an image is padded.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            height, width = module.kernel_size
            kept = torch.zeros_like(module.weight)
            middle = (..., height // 2, width // 2)
            kept[middle] = module.weight[middle]
            module.weight.data = kept


def awake(model, seed=0):
    """Let batch norms count, and layers that start at 0 say something."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.running_var is not None:
            size = module.num_features
            module.running_mean.copy_(
                torch.randn(size, generator=generator) / 10
            )
            module.running_var.copy_(
                torch.rand(size, generator=generator) + 0.5
            )
            if module.weight is not None and not module.weight.any():
                module.weight.data.fill_(0.5)
        if isinstance(module, nn.Linear) and not module.weight.any():
            module.weight.data.normal_(0, 0.02, generator=generator)
    return model


def distiller_of(student):
    """The distiller of a stock model, from its block; None without any."""
    with MODELS.switch_scope_and_registry(None) as registry:
        kind = registry.get(student['type'])
    fitting = [
        each for each in DISTILLERS if issubclass(kind, each.family.stock)
    ]
    return fitting[0] if fitting else None


def mirrored_preprocessor(student):
    cfg = copy.deepcopy(student.data_preprocessor)
    for key in ('mean', 'std'):
        if cfg.get(key) is not None:
            cfg[key] = list(cfg[key])[::-1]
    detects = distiller_of(student).family.scope == 'mmdet'
    swaps = 'bgr_to_rgb' if detects else 'to_rgb'
    if cfg.pop('rgb_to_bgr', False):
        cfg[swaps] = True
    cfg[swaps] = not cfg.get(swaps, False)
    cfg.pop('batch_augments', None)
    return cfg


def mirrored_state(model):
    """The weights of a model that sees channels in reverse order."""
    twin = copy.deepcopy(model)
    for layer in first_layers(twin):
        weight = layer.weight.data
        if isinstance(layer, nn.Linear):
            # MMPretrain's unfold lays patches out channel by channel
            weight = weight.unflatten(1, (3, -1)).flip(1).flatten(1)
        else:
            weight = weight.unflatten(1, (-1, 3)).flip(2).flatten(1, 2)
        layer.weight.data = weight
    return twin.state_dict()


def self_distiller(
    student, folder, losses, change=None, build=MODELS.build, **teacher
):
    """A distiller whose teacher is its student, mirrored.

    Args:
        student (dict): A stock model's block.
        folder (Path): Where the teacher's checkpoint goes.
        losses (dict | Callable): The block ``distill``, or what makes it of
            the stock model.
        change (Callable): Gets the stock model before it is mirrored.
        build (Callable): Builds it.
        teacher (dict): Keys of ``data_preprocessor`` that the teacher has
            otherwise, such as ``pad_size_divisor``.
    """
    student = Config(dict(model=copy.deepcopy(student))).model
    torch.manual_seed(0)
    stock = build(copy.deepcopy(student))  # Deformable DETR completes it
    stock.init_weights()
    if change is not None:
        change(stock)
    if callable(losses):
        losses = losses(stock)
    state = awake(stock).state_dict()
    path = str(folder / 'mirrored.pth')
    torch.save(dict(state_dict=mirrored_state(stock)), path)
    twin = copy.deepcopy(student)
    twin.data_preprocessor = mirrored_preprocessor(student)
    twin.data_preprocessor.update(teacher)
    kind = f'luminet_mm.{distiller_of(student).__name__}'
    model = MODELS.build(
        Config(
            dict(
                model=dict(
                    student,
                    type=kind,
                    teacher=dict(config=dict(model=twin), checkpoint=path),
                    distill=losses,
                )
            )
        ).model
    )
    model.load_state_dict(state, strict=False)
    # norms, dropout and drop-path as in the teacher
    return model.eval()


def gaps(*signals):
    """The losses of `SelfGap`, one for each signal, with its name."""
    return {
        f'loss_{signal}'.replace('.', '_'): dict(
            type='luminet_mm.SelfGap', signal=signal
        )
        for signal in signals
    }


def self_losses(model, batch):
    """The distillation losses of a training step on a raw batch."""
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    torch.manual_seed(0)
    losses = model.loss(data['inputs'], data['data_samples'])
    return {name: losses[name].item() for name in model.distill}
