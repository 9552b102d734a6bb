"""LinearProbe: how good frozen features are for another data set."""

from __future__ import annotations

from mmpretrain.models import ImageClassifier
from torch import nn

from luminet_mm.config_types import PRETRAINED, is_type
from luminet_mm.loading.checkpoint import get_state_dict, load_checkpoint
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

    Raises:
        ValueError: If that file does not hold the whole backbone, when the
            weights are initialised.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        for part in self._frozen():
            part.requires_grad_(False)
        self.train()

    def _frozen(self) -> list[nn.Module]:
        return [self.backbone, *([self.neck] if self.with_neck else [])]

    def init_weights(self) -> None:
        """Initialise, and check that the backbone came whole from its file.

        MMEngine only warns of weights that are missing, and a probe on random
        features looks like any other.
        """
        super().init_weights()
        cfg = self.backbone.init_cfg
        if not isinstance(cfg, dict) or not is_type(cfg, *PRETRAINED):
            return
        path, prefix = cfg['checkpoint'], cfg.get('prefix') or ''
        state = {
            key.removeprefix(prefix): value
            for key, value in get_state_dict(load_checkpoint(path)).items()
            if key.startswith(prefix)
        }
        own = self.backbone.state_dict()
        lost = [
            key
            for key, value in own.items()
            if key not in state or state[key].shape != value.shape
        ]
        if lost:
            raise ValueError(
                f'model.backbone.init_cfg: {len(lost)} of {len(own)} weights '
                f'of {type(self.backbone).__name__} are not in {path!r} under '
                f'prefix={prefix!r}, or have another shape there: '
                f'{", ".join(lost[:4])}. Give a checkpoint of this backbone.'
            )

    def train(self, mode: bool = True) -> LinearProbe:
        """Switch the head alone to train mode."""
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self
