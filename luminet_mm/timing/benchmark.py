"""Time a distillation step and its parts, side by side, on random images."""

from __future__ import annotations

import copy
import json
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from mmdet.models.detectors import BaseDetector, TwoStageDetector
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from luminet_mm.config_types import PRETRAINED, is_type
from luminet_mm.distillers.blocks import teacher_list
from luminet_mm.distillers.mixin import DistillMixin, regroup
from luminet_mm.distillers.two_stage import TwoStageDistiller
from luminet_mm.losses import LogitLoss, kd_loss
from luminet_mm.signals.two_stage import (
    bbox_heads,
    compute_signals,
    record_signals,
)
from luminet_mm.stock import model_block, stock_config
from luminet_mm.teachers.cache import check_student, teacher_part
from luminet_mm.teachers.cache_files import (
    FORMAT,
    CacheError,
    checksum,
    round_file,
)
from luminet_mm.teachers.inputs import image_channels

PARTS = (
    'data',
    'student forward',
    'teacher forward',
    'distillation loss',
    'backward',
    'optimizer',
)
PLAIN = dict(
    fold_bn=False,
    channels_last=False,
    dtype=None,
    compile=False,
    stream=False,
)
PRODUCT = 'matrix product'
# rows of a matrix that is large enough to keep a device busy
ROWS = dict(cpu=2048, cuda=8192)


class BenchmarkError(ValueError):
    """A config that cannot be timed."""


@dataclass
class Contender:
    """Something that is timed once in each round.

    Args:
        run (Callable): Does it once.
        seconds (list[float]): One entry for each round.
        peak_memory (int): Largest number of bytes allocated, on CUDA.
    """

    run: Callable[[], Any]
    seconds: list[float] = field(default_factory=list)
    peak_memory: int = 0


class Clock:
    """Wall-clock time; on CUDA of work that is done, not queued.

    Args:
        device (torch.device): Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.parts: dict[str, float] = {}

    def now(self) -> float:
        """Seconds, when all that was started is done."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the block's time to a part's; to no other one's."""
        start, before = self.now(), sum(self.parts.values())
        yield
        inner = sum(self.parts.values()) - before
        spent = self.now() - start - inner
        self.parts[name] = self.parts.get(name, 0.0) + spent


def benchmark(
    cfg: Config,
    *,
    batch_size: int,
    image_size: tuple[int, int],
    rounds: int = 10,
    warmup: int = 2,
    compare: bool = False,
    device: str = 'cpu',
) -> dict:
    """Time a config's distillation step against what it is made of.

    In each round every contender runs once, in an order that turns, so that a
    machine that slows down slows all of them down. Ratios are taken within a
    round. Nothing is loaded: images, boxes, labels and weights are random.

    Args:
        cfg (Config): Of a distilled detector or classifier.
        batch_size (int): Images.
        image_size (tuple[int, int]): Their height and width in pixels.
        rounds (int): How often each contender is timed.
        warmup (int): Rounds before, which do not count.
        compare (bool): Also time a step whose teacher computes its whole
            loss on RoIs of its own, as MMRazor's does, one in which the
            student's head runs twice, and for a classifier one whose
            teacher's logits lie on disk; and a product of large matrices, to
            whose speed the teacher's is compared.
        device (str): Where to run.

    Returns:
        dict: ``machine``, ``sizes``, ``seconds`` and ``ratios`` (median and
        quartiles of each), ``parts`` of the distillation step (medians in
        seconds), ``flops`` (of what was compared to a matrix product) and
        ``peak_memory`` (bytes).

    Raises:
        BenchmarkError: If the config distils nothing.
    """
    clock = Clock(torch.device(device))
    cfg = without_files(cfg)
    if not (cfg.get('model') or {}).get('distill') or not cfg.model.get(
        'teacher'
    ):
        raise BenchmarkError(
            f'{cfg.filename}: it has no model.teacher and model.distill. Give '
            'the config of a distillation run.'
        )
    student = TrainingStep(stock_config(cfg), device)
    distiller = TrainingStep(cfg, device)
    plain_cfg = copy.deepcopy(cfg)
    for teacher in teacher_list(plain_cfg.model.teacher):
        teacher.update(PLAIN)
    plain = TrainingStep(plain_cfg, device)
    batch = random_batch(distiller.model, batch_size, image_size)

    contenders = {
        'student step': Contender(lambda: student(batch)),
        'distillation step': Contender(lambda: distiller(batch)),
        'distillation step, plain teacher': Contender(lambda: plain(batch)),
        'teacher': Contender(_teacher_forward(distiller, batch)),
        'teacher, plain': Contender(_teacher_forward(plain, batch)),
    }
    if isinstance(distiller.model, BaseDetector):
        for name, step in (('', distiller), (', plain', plain)):
            contenders[f"teacher's features{name}"] = Contender(
                _teacher_features(step, batch)
            )
    if compare:
        contenders['step with the whole teacher'] = Contender(
            lambda: plain(batch, _whole_teacher)
        )
        if isinstance(distiller.model, BaseDetector):
            contenders['step with a second head pass'] = Contender(
                lambda: distiller(batch, _second_head_pass)
            )
        elif _is_cacheable(distiller.model):
            cached = _cached_step(cfg, plain, batch_size, device)
            contenders['step with cached logits'] = Contender(
                lambda: cached(batch)
            )
    flops = {}
    if compare:
        for name in ('teacher', "teacher's features"):
            if name in contenders:
                # the plain one's: a compiled one's cannot be counted
                flops[name] = _flops(contenders[f'{name}, plain'].run)
        product = _matrix_product(clock.device)
        flops[PRODUCT] = _flops(product)
        contenders[PRODUCT] = Contender(product)
    parts: dict[str, list[float]] = {name: [] for name in PARTS}
    for index in range(warmup + rounds):
        order = list(contenders.values())
        first = index % len(order)
        for contender in order[first:] + order[:first]:
            if clock.device.type == 'cuda':
                torch.cuda.reset_peak_memory_stats(clock.device)
            start = clock.now()
            contender.run()
            if index >= warmup:
                contender.seconds.append(clock.now() - start)
            if clock.device.type == 'cuda':
                contender.peak_memory = max(
                    contender.peak_memory,
                    torch.cuda.max_memory_allocated(clock.device),
                )
        clock.parts = {}
        distiller.timed(batch, clock)
        if index >= warmup:
            for name in PARTS:
                parts[name].append(clock.parts.get(name, 0.0))
    return dict(
        machine=_machine(clock.device),
        sizes=dict(batch_size=batch_size, image_size=list(image_size)),
        seconds={
            name: _spread(contender.seconds)
            for name, contender in contenders.items()
        },
        ratios=_ratios({n: c.seconds for n, c in contenders.items()}, flops),
        flops=flops,
        parts={name: statistics.median(parts[name]) for name in PARTS},
        peak_memory=(
            {name: c.peak_memory for name, c in contenders.items()}
            if clock.device.type == 'cuda'
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        ),
    )


class TrainingStep:
    """A model with its optimizer, which takes training steps."""

    def __init__(self, cfg: Config, device: str) -> None:
        scope = cfg.get('default_scope', 'mmengine')
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope(scope):
            self.model: Any = MODELS.build(model_block(cfg)).to(device)
            self.model.train()
            self.optim = build_optim_wrapper(self.model, cfg.optim_wrapper)
        for group in self.optim.optimizer.param_groups:
            group['lr'] = 0.0  # random labels make a network diverge

    def __call__(
        self, batch: dict, more: Callable[[Any, dict], dict] | None = None
    ) -> None:
        with self.optim.optim_context(self.model):
            data = self.model.data_preprocessor(batch, True)
            losses = (more or _losses)(self.model, data)
        total, _ = self.model.parse_losses(losses)
        self.optim.update_params(total)

    def timed(self, batch: dict, clock: Clock) -> None:
        """The same, with the parts timed one by one."""
        with ExitStack() as stack:
            for name in ('start_teachers', 'ask_teachers'):
                ask = getattr(self.model, name)
                setattr(
                    self.model, name, _within(clock, 'teacher forward', ask)
                )
                stack.callback(self.model.__dict__.pop, name)
            for loss in self.model.distill.values():
                loss.forward = _within(
                    clock, 'distillation loss', loss.forward
                )
                stack.callback(loss.__dict__.pop, 'forward')
            with self.optim.optim_context(self.model):
                with clock.part('data'):
                    data = self.model.data_preprocessor(batch, True)
                with clock.part('student forward'):
                    losses = _losses(self.model, data)
            total, _ = self.model.parse_losses(losses)
            with clock.part('backward'):
                self.optim.backward(total)
            with clock.part('optimizer'):
                self.optim.step()
                self.optim.zero_grad()


def _is_cacheable(model: DistillMixin) -> bool:
    """Whether all that its losses read of one teacher are logits."""
    try:
        check_student('model.teacher', model)
    except CacheError:
        return False
    head = getattr(model.teachers[0].model, 'head', None)
    known = hasattr(head, 'num_classes')
    return (
        len(model.teachers) == 1
        and known
        and all(
            isinstance(loss, LogitLoss)
            and model.distill_signals[name][1] == ('logits',)
            for name, loss in model.distill.items()
        )
    )


def _cached_step(
    cfg: Config, plain: TrainingStep, images: int, device: str
) -> TrainingStep:
    """A step whose teacher's logits, random numbers here, lie on disk."""
    cfg = copy.deepcopy(cfg)
    teacher = teacher_list(cfg.model.teacher)[0]
    model = plain.model.teachers[0].model
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        teacher['checkpoint'] = str(folder / 'teacher.pth')
        torch.save(model.state_dict(), teacher['checkpoint'])
        classes = model.head.num_classes
        header = dict(
            format=FORMAT,
            images=images,
            classes=classes,
            rounds=1,
            dtype='float32',
            teacher=teacher_part(teacher),
            data=dict(classes=[]),
            augmentation={},
            views={},
            versions={},
        )
        rows = np.random.default_rng(0).standard_normal((images, classes))
        np.save(round_file(folder, 0), rows.astype(np.float32))
        header['checksums'] = {'0': checksum(round_file(folder, 0))}
        (folder / 'cache.json').write_text(json.dumps(header))
        teacher['cache'] = name
        step = TrainingStep(cfg, device)
        cached = step.model.teachers[0]
        cached.cache.check(range(1))  # its file is open and stays readable
        cached.checked = True
        return step


def _matrix_product(device: torch.device) -> Callable[[], Tensor]:
    """The fastest that a device computes in float32, or near to it."""
    rows = ROWS.get(device.type, max(ROWS.values()))
    one, other = (torch.rand(rows, rows, device=device) for _ in range(2))
    return lambda: one @ other


def _flops(run: Callable[[], Any]) -> int:
    """Multiplications and additions in convolutions and matrix products."""
    run()  # a teacher is fitted when it is first asked, which is not counted
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def _within(clock: Clock, name: str, function: Callable) -> Callable:
    def timed(*args, **kwargs):
        with clock.part(name):
            return function(*args, **kwargs)

    return timed


def _losses(model: BaseModel, data: dict) -> dict:
    return model(**data, mode='loss')


def _whole_teacher(model: DistillMixin, data: dict) -> dict:
    """The student's losses, and KD against a teacher that trains as well.

    The teacher computes all that it would for its own training: proposals,
    RoIs and losses. Its RoIs are not the student's, so rows are cut to equal
    numbers; what is timed does not depend on it.
    """
    factors = [loss.schedule_factor for loss in model.distill.values()]
    for loss in model.distill.values():
        loss.schedule_factor = 0.0  # type: ignore[assignment]
    try:
        with _logits_of(model) as ours:
            losses = _losses(model, data)
    finally:
        for loss, factor in zip(model.distill.values(), factors, strict=True):
            loss.schedule_factor = factor
    for index, teacher in enumerate(model.teachers):
        inputs = model.convert_inputs(
            teacher, data['inputs'], data['data_samples']
        )
        with torch.no_grad(), _logits_of(teacher.model) as theirs:
            samples = copy.deepcopy(data['data_samples'])
            teacher.model.loss(inputs, samples)
        rows = min(len(ours[-1]), len(theirs[-1]))
        losses[f'loss_kd{index}'] = kd_loss(
            ours[-1][:rows], theirs[-1][:rows], tau=1.0
        )
    return losses


def _second_head_pass(model: Any, data: dict) -> dict:
    """The distillation losses, and the student's box head once more."""
    calls: list[tuple] = []
    forward = model.roi_head._bbox_forward

    def recorded(*args, **kwargs):
        calls.append((args, kwargs))
        return forward(*args, **kwargs)

    model.roi_head._bbox_forward = recorded
    try:
        losses = _losses(model, data)
    finally:
        del model.roi_head._bbox_forward
    for index, (args, kwargs) in enumerate(calls):
        logits = forward(*args, **kwargs)['cls_score']
        losses[f'loss_again{index}'] = 0 * logits.sum()
    return losses


@contextmanager
def _logits_of(model: Any) -> Iterator[list[Tensor]]:
    """Collect a model's class scores while it computes its loss."""
    found: list[Tensor] = []
    if isinstance(model, BaseDetector):
        head = bbox_heads(model)[0]
    else:
        head = getattr(model, 'head', model)

    def keep(module, args, outputs):
        found.append(outputs[0] if isinstance(outputs, tuple) else outputs)

    handle = head.register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


def _teacher_forward(step: TrainingStep, batch: dict) -> Callable[[], None]:
    """What the losses read of the teachers, of a detector on drawn RoIs."""
    model = step.model
    rois: dict[int, Tensor] = {}
    if isinstance(model, TwoStageDistiller):
        rois = _drawn_rois(model, model.data_preprocessor(batch, True))

    def run() -> None:
        data = model.data_preprocessor(batch, True)

        def ask(index: int, teacher: Any, asking: list[str]) -> list:
            model.fit_teacher(index)
            images = model.convert_inputs(
                teacher, data['inputs'], data['data_samples']
            )
            if not rois:
                return model.dry_ask(index, asking, images)
            asked = model.asked(asking, index)
            answers = compute_signals(
                teacher.model, images, sum(asked, []), rois
            )
            return regroup(answers, asked)

        with step.optim.optim_context(model):  # the step's own precision
            model.ask_teachers(list(model.distill), ask)

    return run


def _teacher_features(step: TrainingStep, batch: dict) -> Callable[[], None]:
    """Backbone and neck of the teachers, whose head costs as ever."""
    model = step.model
    data = model.data_preprocessor(batch, True)

    def run() -> None:
        with torch.no_grad(), step.optim.optim_context(model):
            for index, teacher in enumerate(model.teachers):
                model.fit_teacher(index)
                images = model.convert_inputs(
                    teacher, data['inputs'], data['data_samples']
                )
                teacher.model.extract_feat(images)

    return run


def _drawn_rois(model: TwoStageDistiller, data: dict) -> dict[int, Tensor]:
    """The RoIs of one training pass, by number of the box head."""
    signals = [s for each in model.asked(list(model.distill)) for s, _ in each]
    with torch.no_grad(), record_signals(model, signals) as record:
        TwoStageDetector.loss(model, data['inputs'], data['data_samples'])
    return {key: stage.rois.detach() for key, stage in record.stages.items()}


def random_batch(
    model: Any, batch_size: int, image_size: tuple[int, int]
) -> dict:
    """Random images as a data loader gives them, with labels or boxes.

    Args:
        model: The detector or classifier.
        batch_size (int): Images.
        image_size (tuple[int, int]): Height and width in pixels.
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
            classes = getattr(model.head, 'num_classes', 10)
            sample.set_gt_label(
                torch.randint(0, classes, (1,), generator=generator)
            )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def _random_boxes(
    model: Any, image_size: tuple[int, int], generator: torch.Generator
) -> InstanceData:
    """Seven objects, about as many as COCO has in an image."""
    height, width = image_size
    size = torch.tensor([width, height])
    corner = torch.rand(7, 2, generator=generator) * size * 0.6
    extent = (torch.rand(7, 2, generator=generator) * 0.35 + 0.05) * size
    head: Any = bbox_heads(model)[0]
    instances = InstanceData(
        bboxes=torch.cat([corner, corner + extent], dim=1),
        labels=torch.randint(0, head.num_classes, (7,), generator=generator),
    )
    if model.with_mask:
        masks = torch.zeros(7, height, width).numpy().astype('uint8')
        instances.masks = BitmapMasks(masks, height, width)
    return instances


def without_files(cfg: Config) -> Config:
    """A copy that reads no checkpoint: time does not depend on weights."""
    cfg = copy.deepcopy(cfg)
    for teacher in teacher_list((cfg.get('model') or {}).get('teacher')):
        teacher['checkpoint'] = None
        teacher.pop('cache', None)

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


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    ordered = sorted(seconds)
    low, middle, high = (
        statistics.quantiles(ordered, n=4) if len(ordered) > 1 else ordered * 3
    )
    return dict(median=middle, low=low, high=high)


def _ratios(
    seconds: dict[str, list[float]], flops: dict[str, int]
) -> dict[str, dict]:
    """What a step costs beyond what it has to, round by round."""

    def over(one: Sequence[float], other: Sequence[float]) -> dict:
        return _spread([a / b for a, b in zip(one, other, strict=True)])

    step, student = seconds['distillation step'], seconds['student step']
    least = [a + b for a, b in zip(student, seconds['teacher'], strict=True)]
    ratios = {
        'distillation step / (student step + teacher)': over(step, least),
        'distillation step / student step': over(step, student),
        'teacher / plain teacher': over(
            seconds['teacher'], seconds['teacher, plain']
        ),
    }
    features = seconds.get("teacher's features")
    if features:
        ratios["teacher's features / plain teacher's features"] = over(
            features, seconds["teacher's features, plain"]
        )
    for name, values in seconds.items():
        if name.startswith(('distillation step, ', 'step with')):
            ratios[f'distillation step / {name}'] = over(step, values)
    cached = seconds.get('step with cached logits')
    if cached:
        ratios['step with cached logits / student step'] = over(
            cached, student
        )
    for name in flops:
        if name != PRODUCT:
            share = flops[name] / flops[PRODUCT]
            ratios[f"{name}: operations a second / a {PRODUCT}'s"] = over(
                [share * each for each in seconds[PRODUCT]], seconds[name]
            )
    return ratios


def _machine(device: torch.device) -> dict:
    name = platform.processor() or platform.machine()
    if device.type == 'cuda':
        name = torch.cuda.get_device_name(device)
    return dict(
        device=str(device),
        name=name,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        python=platform.python_version(),
    )


def draw(result: dict, path: Path) -> None:
    """Draw the steps as bars, the distillation step in its parts.

    Args:
        result (dict): Of :func:`benchmark`.
        path (Path): The picture.
    """
    figure = Figure(figsize=(9, 4.5), layout='constrained')
    axes = figure.subplots()
    names = list(result['seconds'])
    for row, name in enumerate(names):
        entry = result['seconds'][name]
        errors = [
            [1000 * (entry['median'] - entry['low'])],
            [1000 * (entry['high'] - entry['median'])],
        ]
        axes.barh(row, 1000 * entry['median'], xerr=errors, color='lightgray')
    left = 0.0
    for part, seconds in result['parts'].items():
        axes.barh(len(names), 1000 * seconds, left=left, label=part)
        left += 1000 * seconds
    axes.set_yticks(range(len(names) + 1), [*names, 'its parts'])
    axes.set(xlabel='milliseconds')
    axes.invert_yaxis()
    figure.legend(loc='outside lower center', ncols=3, fontsize=8)
    figure.savefig(path, dpi=120)
