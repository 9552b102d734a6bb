"""FCFD: features that both networks' later layers treat alike (Liu)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from luminet_mm.connectors import make_bridge
from luminet_mm.losses.base.batch import DistillBatch
from luminet_mm.losses.base.card import Card, Paper, Signals, Source, Use
from luminet_mm.losses.base.draws import CountedDraws
from luminet_mm.losses.base.feature import FeatureLoss, Features
from luminet_mm.losses.fcfd_stages import (
    DIRECTIONS,
    Path,
    mixed_paths,
    stage_distance,
)
from luminet_mm.losses.kd import kd_loss
from luminet_mm.models.cuts import Stages
from luminet_mm.registry import MODELS


@MODELS.register_module()
class FCFDLoss(CountedDraws, FeatureLoss):
    r"""Function-consistent feature distillation of classifiers.

    `Function-Consistent Feature Distillation
    <https://arxiv.org/abs/2304.11832>`_. Both networks are cut at the same
    stages. A mixed path runs the first stages of one network, crosses a
    bridge (:func:`make_bridge`) and ends in the other:

    .. math:: L = w \sum_i \sum_{v \in V_i} d(v, t_i)
              + w_{kd}\, k(z_s) + w_{mix} \sum_{z \in Z} k(z), \qquad
              k(z) = \tau^2\,
              \mathrm{KL}(\sigma(z_t/\tau)\,\|\,\sigma(z/\tau))

    :math:`V_i` holds the student's bridged map of stage i ("appearance") and
    the maps after the teacher's layers on the drawn student-teacher paths
    ("function"); d is :func:`stage_distance`. Z are the logits of the drawn
    paths in both directions. Cross entropy applies only to the student's own
    logits.

    Published: two paths a step and weights of 1; on CIFAR-100 w 5
    (0.02 for ResNet-56 and ResNet-20), warmed up over 20 epochs, tau 4 (8 for
    ResNet-32x4 and ShuffleNets, ResNet-50 and MobileNetV2), SGD with Nesterov
    momentum, :math:`w_{mix}` 0.2 for WRN-40-2 and WRN-16-2; on ImageNet tau
    1, w 0.02 (ResNet-18) or 5 (MobileNetV1), warmed up over 5 epochs.

    The differences from the release are in ``docs/losses.md``.

    Signals are the maps and the logits, for networks with a map after the ReLU
    ``['backbone.layer1', ..., 'logits']``. The published cuts are before the
    ReLU for VGG and ShuffleNetV1 (``backbone.layer1.preact``), at the last map
    of WRN (``backbone.layer3.preact``) and of MobileNetV2
    (``backbone.conv2.1``). If a network's map has no negative values in the
    dry run, bridges to it end in a leaky ReLU.

    The paths of a step depend only on the run's seed and the step number: all
    ranks draw the same paths, a resumed run continues the sequence, and no
    other random number changes.

    Args:
        tau: Temperature, > 0.
        feature_weight: w. ``DistillScheduleHook`` can warm up only this
            weight, with ``part='features'``.
        kd_weight: Weight of the student's logits, :math:`w_{kd}`.
        mixed_weight: Weight of the logits of each path, :math:`w_{mix}`.
        paths: Number of mixed paths drawn for a step, 0 or more.
        direction: Directions of the paths: ``'both'``, ``'to_teacher'`` or
            ``'to_student'``.
        kwargs: Options of :class:`FeatureLoss`.

    Raises:
        ValueError: An argument is out of its range, a network cannot be cut at
            the signals, or there are fewer than ``paths`` paths.

    Examples:
        >>> import torch
        >>> from luminet_mm.losses import FCFDLoss
        >>> student = [torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4)]
        >>> teacher = [torch.rand(2, 6, 8, 8), torch.rand(2, 9, 4, 4)]
        >>> logits = torch.rand(2, 10)
        >>> loss = FCFDLoss()  # a distiller has it read both models first
        >>> loss = loss.build([*student, logits], [*teacher, logits])
        >>> loss.to_teacher[0](student[0]).shape, len(loss.draw(2))
        (torch.Size([2, 6, 8, 8]), 2)
    """

    card = Card(
        title='FCFD',
        key='fcfd',
        paper=Paper(
            'Function-Consistent Feature Distillation',
            'Liu et al. 2023',
            'https://arxiv.org/abs/2304.11832',
        ),
        sources=(
            Source(
                'LiuDongyang6/FCFD',
                '2aefb7b',
                '',
                (
                    'classification/models/meta.py',
                    'classification/cifar/main.py',
                ),
            ),
        ),
        signals=Signals(('maps', 'logits')),
        uses=dict(
            classifier=Use(
                settings=dict(tau=4.0, feature_weight=0.02, loss_weight=1.0)
            ),
        ),
        needs=('networks that can be cut',),
    )

    activations: tuple[str, ...] = ('softmax',)
    has_connectors = True
    runs_layers = True

    def __init__(
        self,
        *,
        tau: float = 4.0,
        feature_weight: float = 5.0,
        kd_weight: float = 1.0,
        mixed_weight: float = 1.0,
        paths: int = 2,
        direction: str = 'both',
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.tau = self._temperature(tau)
        self.feature_weight = self._number('feature_weight', feature_weight)
        self.kd_weight = self._number('kd_weight', kd_weight)
        self.mixed_weight = self._number('mixed_weight', mixed_weight)
        self.paths = self._whole('paths', paths, 0)
        self.direction = self._choice('direction', direction, DIRECTIONS)
        self.part_factors['features'] = 1.0
        self._networks: dict[str, Any] = {}
        self._ambient: dict[str, Any] = {}
        self.start_draws()

    def read_models(
        self,
        student: nn.Module,
        teacher: nn.Module,
        student_names: Sequence[str],
        teacher_names: Sequence[str],
    ) -> None:
        """See :meth:`DistillLoss.read_models`."""
        levels = self.levels or range(len(student_names))
        try:
            self._networks = {
                side: Stages(
                    model, [names[i] for i in levels], side, side == 'teacher'
                )
                for side, model, names in (
                    ('student', student, student_names),
                    ('teacher', teacher, teacher_names),
                )
            }
        except (IndexError, ValueError) as error:
            raise ValueError(f'{self.name}: {error}') from None

    def make_connectors(
        self, student: list[torch.Size], teacher: list[torch.Size]
    ) -> None:
        """See :meth:`FeatureLoss.make_connectors`."""
        *ours, logits = student
        *theirs, asked = teacher
        if {len(shape) for shape in (*ours, *theirs)} != {4} or (
            logits != asked or len(logits) != 2
        ):
            raise ValueError(
                f'the student has {[*map(tuple, student)]} and the teacher '
                f'{[*map(tuple, teacher)]}; name maps (B, C, H, W) and then '
                'the logits, of the same classes.'
            )
        known = len(mixed_paths(len(ours), self.direction))
        if known < self.paths:
            raise ValueError(
                f'paths is {self.paths}, but with {len(ours)} maps and '
                f'direction {self.direction!r} there are {known}; name more '
                'maps, or set fewer paths.'
            )
        self.to_teacher = nn.ModuleList(
            make_bridge(s, t, after_relu=after)
            for s, t, after in zip(ours, theirs, self.after_relu['teacher'])
        )
        # after the last stage there is nothing to cross over to
        self.to_student = nn.ModuleList(
            make_bridge(t, s, after_relu=after)
            for s, t, after in zip(
                ours[:-1], theirs[:-1], self.after_relu['student']
            )
            if self.direction != 'to_teacher' and self.paths
        )

    def draw(self, stages: int) -> list[Path]:
        """The mixed paths of the next step.

        Args:
            stages: Number of maps.
        """
        seed, step = self.next_draw()
        chance = random.Random(f'{seed} {step}')
        candidates = mixed_paths(stages, self.direction)
        return chance.sample(candidates, self.paths)

    def forward(
        self,
        student: Features,
        teacher: Features | None = None,
        batch: DistillBatch | None = None,
    ) -> Tensor:
        """See :meth:`FeatureLoss.forward`."""
        # the networks' layers use autocast, which the base class disables
        device = self.select('student', student)[0].device.type
        self._ambient = dict(
            device_type=device,
            dtype=torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
        )
        return super().forward(student, teacher, batch)

    def compute(
        self,
        student: list[Tensor],
        teacher: list[Tensor],
        batch: DistillBatch,
    ) -> Tensor:
        """See :meth:`FeatureLoss.compute`."""
        if not self._networks:
            raise ValueError(
                f'{self.name}: it has not read the networks yet. Call '
                'read_models(student, teacher, ...); distillers do this.'
            )
        *ours, logits = student
        *theirs, target = teacher
        # the maps of every stage that are in the teacher's space
        spaces = [[each] for each in self.connect(self.to_teacher, ours)]
        scores = [logits]
        idle = set(range(len(self.to_student)))
        for end, place in self.draw(len(ours)):
            if end == 'teacher':
                x = spaces[place][0]
            else:
                idle.discard(place)
                (x,) = self.connect(
                    self.to_student[place : place + 1], [theirs[place]]
                )
            with torch.autocast(**self._ambient):
                network = self._networks[end]
                for stage in range(place, len(ours) - 1):
                    x = network.step(stage, x)
                    if end == 'teacher':
                        spaces[stage + 1].append(x)
                scores.append(network.logits(x))
        features = self.total(
            stage_distance(
                [each.to(t.dtype) for each in maps],
                t,
                last=stage == len(ours) - 1,
                sync=self.sync_stats,
            )
            for stage, (maps, t) in enumerate(zip(spaces, theirs, strict=True))
        )
        distance = self.total(
            (self.mixed_weight if place else self.kd_weight)
            * kd_loss(
                z.to(target.dtype), target, tau=self.tau, sync=self.sync_stats
            )
            for place, z in enumerate(scores)
        )
        waiting = [
            0 * weight.sum()
            for place in idle
            for weight in self.to_student[place].parameters()
        ]
        weight = self.feature_weight * self.part_factors['features']
        return weight * features + distance + sum(waiting)
