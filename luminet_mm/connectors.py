"""Connectors: small networks that bring a student's features to a teacher's.

=================  ========================================================
kind               what it is, mapping ``c_s`` to ``c_t`` channels
=================  ========================================================
``'linear'``       linear layer; a 1x1 convolution on feature maps
``'conv_bn'``      1x1 convolution without bias, then batch norm
``'mlp'``          linear, ReLU, linear, with ``hidden`` channels between
``'orthogonal'``   linear without bias whose columns stay orthonormal
``'regressor'``    FitNet's: a convolution, also to half or twice the size,
                   batch norm, and a ReLU as in the teacher (``last_relu``)
=================  ========================================================

A connector is trained with the student, by the student's optimizer, and left
out of the published model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KINDS = ('linear', 'conv_bn', 'mlp', 'orthogonal', 'regressor')
LAST_RELU = (None, True, False)
OPTIONS = {'mlp': 'hidden', 'regressor': 'last_relu'}


def make_connector(
    connector: str | dict,
    student: Sequence[int],
    teacher: Sequence[int],
    *,
    after_relu: bool = True,
) -> nn.Module:
    """Build a connector that maps features of one shape to another.

    Args:
        connector: One of :data:`KINDS`, or a dict with the kind
            as ``type`` and its options: ``hidden`` for ``'mlp'`` (default: the
            teacher's channels), ``last_relu`` for ``'regressor'`` (see
            :func:`ends_in_relu`).
        student: Shape of the student's features, ``(B, c_s)``
            or ``(B, c_s, H, W)``.
        teacher: Shape of the teacher's features.
        after_relu: Whether the teacher's map has passed a ReLU.

    Returns:
        A module that maps ``(B, c_s, ...)`` to ``(B, c_t, ...)``.

    Raises:
        ValueError: The kind is unknown or does not fit these shapes.

    Examples:
        >>> make_connector('mlp', (2, 4), (2, 6))(torch.rand(2, 4)).shape
        torch.Size([2, 6])
    """
    options: dict[str, Any] = (
        {'type': connector} if isinstance(connector, str) else dict(connector)
    )
    kind = options.pop('type', None)
    if kind not in KINDS:
        raise ValueError(
            f'connector is {connector!r}; set one of '
            f'{", ".join(map(repr, KINDS))}, or a dict with one as its type.'
        )
    maps = len(student) == 4
    ours, theirs = student[1], teacher[1]
    own = OPTIONS.get(kind)
    wrong = sorted(key for key in options if key != own)
    if wrong:
        raise ValueError(
            f'connector {kind!r} has no option {wrong[0]!r}; '
            + (f'it has {own}.' if own else 'it has none.')
        )
    hidden = options.get('hidden', theirs)
    if kind == 'linear':
        return _linear(maps, ours, theirs)
    if kind == 'conv_bn':
        norm = nn.BatchNorm2d if maps else nn.BatchNorm1d
        return nn.Sequential(
            _linear(maps, ours, theirs, bias=False), norm(theirs)
        )
    if kind == 'mlp':
        return nn.Sequential(
            _linear(maps, ours, hidden),
            nn.ReLU(),
            _linear(maps, hidden, theirs),
        )
    if kind == 'orthogonal':
        return Orthogonal(ours, theirs)
    last_relu = options.get('last_relu')
    if last_relu not in LAST_RELU:
        raise ValueError(
            f'connector {kind!r}: last_relu is {last_relu!r}; set None, True '
            'or False.'
        )
    return _regressor(student, teacher, ends_in_relu(last_relu, after_relu))


def ends_in_relu(last_relu: bool | None, after_relu: bool) -> bool:
    """Whether a connector ends in a ReLU.

    The output of a ReLU cannot match negative targets. Half of the values of a
    feature pyramid are negative, since its maps come from convolutions.

    Args:
        last_relu: True or False to force it; None to follow the
            teacher.
        after_relu: Whether the teacher's map has passed a ReLU.
    """
    return after_relu if last_relu is None else bool(last_relu)


def align_channels(
    student: Sequence[Sequence[int]], teacher: Sequence[Sequence[int]]
) -> nn.ModuleList:
    """A ``'linear'`` connector where channels differ, identity elsewhere.

    Args:
        student: Shapes of the student's features.
        teacher: Shapes of the teacher's.
    """
    return nn.ModuleList(
        nn.Identity()
        if ours[1] == theirs[1]
        else make_connector('linear', ours, theirs)
        for ours, theirs in zip(student, teacher, strict=True)
    )


def _linear(
    maps: bool, inputs: int, outputs: int, bias: bool = True
) -> nn.Module:
    if maps:
        return nn.Conv2d(inputs, outputs, 1, bias=bias)
    return nn.Linear(inputs, outputs, bias=bias)


class Orthogonal(nn.Module):
    """A linear layer whose ``(c_t, c_s)`` matrix has orthonormal columns.

    It keeps the student's distances and angles. It works on vectors and, point
    by point, on feature maps.

    The matrix is the Q of a QR decomposition of the weight. The optimizer may
    change the weight freely: the matrix stays orthonormal under weight decay
    and moving averages. (The Householder form of
    ``torch.nn.utils.parametrizations.orthogonal`` becomes 0 at the first step
    with weight decay.)

    Args:
        inputs: Channels of the student.
        outputs: Channels of the teacher, at least ``inputs``.

    Raises:
        ValueError: The teacher has fewer channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if outputs < inputs:
            raise ValueError(
                f"connector 'orthogonal' needs a teacher at least as wide as "
                f'the student; here it has {outputs} channels and the '
                f'student has {inputs}. Use another connector.'
            )
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.orthogonal_(self.weight)

    def matrix(self) -> Tensor:
        """The projection; the weight itself if that is orthonormal."""
        exact = torch.promote_types(self.weight.dtype, torch.float32)
        q, r = torch.linalg.qr(self.weight.to(exact))  # QR has no half
        # The decomposition is unique up to the signs of R's diagonal.
        return torch.where(r.diagonal() < 0, -q, q).to(self.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, c_s, ...)`` to ``(B, c_t, ...)``."""
        return F.linear(x.movedim(1, -1), self.matrix()).movedim(-1, 1)


def _regressor(
    student: Sequence[int], teacher: Sequence[int], last_relu: bool
) -> nn.Module:
    """FitNet's regressor, chosen as in mdistiller's ``ConvReg`` (a08d46f).

    Maps twice or half the teacher's size are halved or doubled, whatever the
    image size. Other larger maps shrink through an unpadded convolution whose
    kernel covers the difference, so all images must have one size.
    """
    if len(student) != 4:
        raise ValueError(
            "connector 'regressor' needs maps (B, C, H, W); use 'linear' "
            'for vectors.'
        )
    ours, theirs = student[1], teacher[1]
    size, target = tuple(student[2:]), tuple(teacher[2:])
    conv: nn.Module
    if all(x == 2 * y for x, y in zip(size, target)):
        conv = nn.Conv2d(ours, theirs, 3, stride=2, padding=1)
    elif all(2 * x == y for x, y in zip(size, target)):
        conv = nn.ConvTranspose2d(ours, theirs, 4, stride=2, padding=1)
    elif all(x >= y for x, y in zip(size, target)):
        kernel = 1 + size[0] - target[0], 1 + size[1] - target[1]
        conv = nn.Conv2d(ours, theirs, kernel)
    else:
        raise ValueError(
            f"connector 'regressor' cannot resize maps of {size[0]}x{size[1]} "
            f"to the teacher's {target[0]}x{target[1]}: they must be as "
            'large, larger or half as large. Compare another layer, or use '
            'a method that resizes maps, such as ATLoss or ReviewKDLoss.'
        )
    layers = [conv, nn.BatchNorm2d(theirs)]
    return nn.Sequential(*layers, *[nn.ReLU()] * last_relu)


def make_projector(
    inputs: int, outputs: int, *, factor: float = 2, last_relu: bool = True
) -> nn.Sequential:
    """SimKD's bottleneck: three convolutions, each with batch norm and ReLU.

    Args:
        inputs: Channels of the student.
        outputs: Channels of the teacher.
        factor: The 1x1, 3x3 and 1x1 convolutions have
            ``outputs // factor`` channels between them.
        last_relu: Whether the last convolution also gets a ReLU.

    Returns:
        A module that maps ``(B, inputs, H, W)`` to ``(B, outputs, H, W)``.

    Raises:
        ValueError: No channels are left.
    """
    hidden = int(outputs // factor)
    if hidden < 1:
        raise ValueError(
            f'factor is {factor}, which leaves no channels of the '
            f"teacher's {outputs}; set a smaller one."
        )
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, hidden, 3, padding=1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        *[nn.ReLU()] * last_relu,
    )


def make_bridge(
    source: Sequence[int], target: Sequence[int], *, after_relu: bool = False
) -> nn.Sequential:
    """FCFD's bridge from one network's maps to the other's.

    A 3x3 convolution without bias, then batch norm. If the source's maps are
    twice as large, the convolution has stride 2; if they are half as large, it
    is a 4x4 transposed convolution. Both of these have a bias.

    Args:
        source: Shape ``(B, C, H, W)`` of the input maps.
        target: Shape of the output maps.
        after_relu: Whether the target's maps have passed a ReLU. If so,
            the bridge ends in a leaky ReLU of slope 0.1.

    Returns:
        A module that maps ``(B, c_source, ...)`` to ``(B, c_target, ...)``.

    Raises:
        ValueError: No bridge fits between these sizes.
    """
    channels = source[1], target[1]
    ours, theirs = tuple(source[2:]), tuple(target[2:])
    conv: nn.Module
    if ours == theirs:
        conv = nn.Conv2d(*channels, 3, padding=1, bias=False)
    elif ours == tuple(2 * size for size in theirs):
        conv = nn.Conv2d(*channels, 3, stride=2, padding=1)
    elif theirs == tuple(2 * size for size in ours):
        conv = nn.ConvTranspose2d(*channels, 4, stride=2, padding=1)
    else:
        raise ValueError(
            f'no bridge leads from maps of size {ours} to {theirs}; one must '
            'be as large as the other, or twice as large. Name other maps.'
        )
    if isinstance(conv, nn.Conv2d):
        nn.init.kaiming_normal_(
            conv.weight, mode='fan_out', nonlinearity='relu'
        )
    bridge = nn.Sequential(conv, nn.BatchNorm2d(target[1]))
    if after_relu:
        bridge.append(nn.LeakyReLU(0.1))
    return bridge
