"""LinearProbe: how good frozen features are for another data set."""

from __future__ import annotations

from mmpretrain.models import ImageClassifier
from torch import nn

from luminet_mm.registry import MODELS


@MODELS.register_module()
class LinearProbe(ImageClassifier):
    """A stock classifier whose head alone is trained.

    Backbone and neck stay as they are loaded, and in eval mode: with batch
    norm in train mode the running statistics would drift to the new data, and
    dropout would blur the features. Give the backbone its weights by
    ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``.

    Args:
        *args, **kwargs: As for the stock classifier.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        for part in self._frozen():
            part.requires_grad_(False)
        self.train()

    def _frozen(self) -> list[nn.Module]:
        return [self.backbone, *([self.neck] if self.with_neck else [])]

    def train(self, mode: bool = True) -> LinearProbe:
        """Switch the head alone to train mode."""
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self
