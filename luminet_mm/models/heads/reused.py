"""The teacher's classifier as a student's head, for SimKD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.heads import LinearClsHead

from luminet_mm.registry import MODELS


@MODELS.register_module()
class ReusedClsHead(LinearClsHead):
    """A linear head with the teacher's weights, which stay fixed.

    :class:`~luminet_mm.distillers.classifier.ClassifierDistiller` passes it
    the teacher. The weights are neither trained nor decayed, are saved with
    the student, and have the keys of a ``LinearClsHead``. While there is a
    teacher, a checkpoint with another classifier is refused. Without a teacher
    (in the stock config) the head loads the weights of its checkpoint.

    Args:
        num_classes: As for ``LinearClsHead``.
        in_channels: Width of the teacher's classifier.
        init_cfg: Must be None: only a teacher or a checkpoint fills this head.
        kwargs: Options of ``ClsHead``.

    Raises:
        ValueError: ``init_cfg`` is set, or the teacher does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        init_cfg: Any = None,
        **kwargs,
    ) -> None:
        if init_cfg:
            raise ValueError(
                'ReusedClsHead: its weights come from the teacher; remove '
                'init_cfg.'
            )
        super().__init__(num_classes, in_channels, init_cfg=None, **kwargs)
        self.fc.requires_grad_(False)
        # not a module, and shared with copies of the student
        self._teacher: Any = None

    def reuse(self, teachers: Sequence) -> None:
        """Take the weights of the teacher's classifier.

        Args:
            teachers: The student's one teacher.

        Raises:
            ValueError: There is not exactly one teacher, its head is not
                linear, or the sizes differ.
        """
        if len(teachers) != 1:
            raise ValueError(
                f'ReusedClsHead: there are {len(teachers)} teachers, and the '
                'student can use the classifier of only one. List one in '
                'model.teacher.'
            )
        if teachers[0].class_map is not None:
            raise ValueError(
                "ReusedClsHead: the student takes the teacher's classifier, "
                'with its classes. Remove teacher.classes.'
            )
        head = getattr(teachers[0].model, 'head', None)
        if not isinstance(head, LinearClsHead):
            raise ValueError(
                "ReusedClsHead: the teacher's head is "
                f'{type(head).__name__}; it must be a LinearClsHead, one '
                'linear layer on pooled features. Use another teacher.'
            )
        ours, theirs = self.fc.weight.shape, head.fc.weight.shape
        if ours != theirs:
            raise ValueError(
                f'ReusedClsHead: it has {ours[0]} classes and {ours[1]} '
                f"channels, the teacher's classifier has {theirs[0]} and "
                f'{theirs[1]}. Set num_classes={theirs[0]} and '
                f"in_channels={theirs[1]}, and the neck's out_channels."
            )
        self._teacher = teachers[0]
        self.init_weights()

    def init_weights(self) -> None:
        """Set the teacher's weights.

        A model's own ``init_cfg`` may have overwritten them: the model
        initialises its parts after itself.
        """
        if self._teacher is not None:
            self.fc.load_state_dict(self._teacher.model.head.fc.state_dict())

    def loss(self, feats, data_samples, **kwargs) -> dict:
        """See ``ClsHead.loss``.

        Raises:
            RuntimeError: No teacher has filled the head.
        """
        if self._teacher is None:
            raise RuntimeError(
                'ReusedClsHead: no teacher has filled it. Train with '
                'luminet_mm.ClassifierDistiller; to train the classifier, '
                "set model.head.type to 'LinearClsHead', which has the same "
                'keys.'
            )
        return super().loss(feats, data_samples, **kwargs)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        if self._teacher is not None:
            for key, own in self.fc.state_dict().items():
                value = state_dict.get(f'{prefix}fc.{key}')
                if value is not None and not own.equal(value.to(own)):
                    raise ValueError(
                        f"ReusedClsHead: the checkpoint's {prefix}fc.{key} is "
                        "not the teacher's. Give the teacher that this "
                        'student was trained with, or start from a '
                        'checkpoint without a head.'
                    )
        super()._load_from_state_dict(state_dict, prefix, *args)
