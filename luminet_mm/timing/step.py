"""A training step on random images, and a clock to time it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from mmpretrain.structures import DataSample
from torch import nn

from luminet_mm.config_types import PRETRAINED, is_type
from luminet_mm.signals.roi_heads import bbox_heads
from luminet_mm.stock import model_block
from luminet_mm.teachers.base import Teacher
from luminet_mm.teachers.entries import teacher_list, without_cache
from luminet_mm.teachers.inputs import image_channels

CHOSEN = "teacher's boxes"
"""The part of a step in which boxes are found and the student scores them."""


class BenchmarkError(ValueError):
    """A config cannot be timed."""


def check_distils(cfg: Config) -> None:
    """Refuse a config that does not distil.

    Raises:
        BenchmarkError: If it has no losses of distillation, or no teacher.
    """
    model = cfg.get('model') or {}
    if not model.get('distill') or not model.get('teacher'):
        raise BenchmarkError(
            f'{cfg.filename}: it has no model.teacher and model.distill. Give '
            'the config of a distillation run.'
        )


class Clock:
    """Wall-clock time; on CUDA, of finished work, not of queued work.

    Args:
        device: The device that does the work.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.parts: dict[str, float] = {}

    def now(self) -> float:
        """The time in seconds, once all started work is done."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the block's time to this part, and only to this one."""
        start, before = self.now(), sum(self.parts.values())
        yield
        inner = sum(self.parts.values()) - before
        spent = self.now() - start - inner
        self.parts[name] = self.parts.get(name, 0.0) + spent


class TrainingStep:
    """A model and its optimizer, to run training steps."""

    def __init__(self, cfg: Config, device: str) -> None:
        scope = cfg.get('default_scope', 'mmengine')
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(scope):
            self.model: Any = MODELS.build(model_block(cfg)).to(device)
            self.model.train()
            self.optim = build_optim_wrapper(self.model, cfg.optim_wrapper)
        if hasattr(self.model, 'teachers'):
            self.model.teachers.at_step(0, 0)
        for group in self.optim.optimizer.param_groups:
            group['lr'] = 0.0  # random labels make a network diverge

    def __call__(
        self, batch: dict, more: Callable[[Any, dict], dict] | None = None
    ) -> None:
        with self.optim.optim_context(self.model):
            data = self.model.data_preprocessor(batch, True)
            losses = (more or step_losses)(self.model, data)
        total, _ = self.model.parse_losses(losses)
        self.optim.update_params(total)

    def timed(self, batch: dict, clock: Clock) -> None:
        """Run a training step with its parts timed one by one."""
        with ExitStack() as stack:
            for name in ('begin_teachers', 'ask_teachers'):
                ask = getattr(self.model, name)
                setattr(
                    self.model, name, _within(clock, 'teacher forward', ask)
                )
                stack.callback(self.model.__dict__.pop, name)
            for teacher in self.model.teachers:
                # with a box head's second pass, where it brings rows
                if type(teacher).rows is not Teacher.rows:
                    teacher.rows = _within(clock, CHOSEN, teacher.rows)
                    stack.callback(teacher.__dict__.pop, 'rows')
            for loss in self.model.distill.values():
                loss.forward = _within(
                    clock, 'distillation loss', loss.forward
                )
                stack.callback(loss.__dict__.pop, 'forward')
            with self.optim.optim_context(self.model):
                with clock.part('data'):
                    data = self.model.data_preprocessor(batch, True)
                with clock.part('student forward'):
                    losses = step_losses(self.model, data)
            total, _ = self.model.parse_losses(losses)
            with clock.part('backward'):
                self.optim.backward(total)
            with clock.part('optimizer'):
                self.optim.step()
                self.optim.zero_grad()


def _within(clock: Clock, name: str, function: Callable) -> Callable:
    def timed(*args, **kwargs):
        with clock.part(name):
            return function(*args, **kwargs)

    return timed


def step_losses(model: BaseModel, data: dict) -> dict:
    """The losses of a training step."""
    return model(**data, mode='loss')


def random_batch(
    model: Any, batch_size: int, image_size: tuple[int, int]
) -> dict:
    """Random images in a data loader's format, with labels or boxes.

    Args:
        model: The detector or classifier.
        batch_size: Number of images.
        image_size: Height and width in pixels.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (image_channels(model), *image_size)
    detects = isinstance(model, BaseDetector)
    inputs, samples = [], []
    for index in range(batch_size):
        inputs.append(torch.randint(0, 256, shape, generator=generator).byte())
        meta = dict(
            img_shape=image_size,
            ori_shape=image_size,
            pad_shape=image_size,
            scale_factor=(1.0, 1.0),
            img_id=index,
            sample_idx=index,
            view=index,
        )
        if detects:
            instances = _random_boxes(model, image_size, generator)
            sample = DetDataSample(gt_instances=instances, metainfo=meta)
        else:
            sample = DataSample(metainfo=meta)
            sample.set_gt_label(
                torch.randint(0, _classes(model), (1,), generator=generator)
            )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def _classes(model: Any) -> int:
    """How many classes a model predicts; 10 where no head says it."""
    heads = [getattr(model, name, None) for name in ('head', 'bbox_head')]
    for head in [*heads, *bbox_heads(model)]:
        if hasattr(head, 'num_classes'):
            return head.num_classes
    return 10


def _random_boxes(
    model: Any, image_size: tuple[int, int], generator: torch.Generator
) -> InstanceData:
    """Seven objects, about the average number in a COCO image."""
    height, width = image_size
    size = torch.tensor([width, height])
    corner = torch.rand(7, 2, generator=generator) * size * 0.6
    extent = (torch.rand(7, 2, generator=generator) * 0.35 + 0.05) * size
    instances = InstanceData(
        bboxes=torch.cat([corner, corner + extent], dim=1),
        labels=torch.randint(0, _classes(model), (7,), generator=generator),
    )
    if model.with_mask:
        masks = torch.zeros(7, height, width).numpy().astype('uint8')
        instances.masks = BitmapMasks(masks, height, width)
    return instances


def without_files(cfg: Config) -> Config:
    """A copy without checkpoints: the time does not depend on weights."""
    cfg = copy.deepcopy(cfg)
    for teacher in teacher_list((cfg.get('model') or {}).get('teacher')):
        teacher['checkpoint'] = None
        without_cache(teacher)

    def strip(node: Any) -> None:
        if isinstance(node, dict):
            init = node.get('init_cfg')
            if isinstance(init, dict) and is_type(init, *PRETRAINED):
                node['init_cfg'] = None
            for value in node.values():
                strip(value)
        elif isinstance(node, (list, tuple)):
            for value in node:
                strip(value)

    strip(cfg._cfg_dict)
    return cfg


def count_parameters(model: nn.Module) -> int:
    """Number of a model's parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
