"""LinearProbe: test frozen features on another data set."""

from __future__ import annotations

from mmpretrain.models import ImageClassifier
from torch import nn

from luminet_mm.config_types import PRETRAINED, is_type
from luminet_mm.loading.checkpoint import get_state_dict, load_checkpoint
from luminet_mm.registry import MODELS


@MODELS.register_module()
class LinearProbe(ImageClassifier):
    """A stock classifier of which only the head is trained.

    Backbone and neck keep their loaded weights and stay in eval mode. In train
    mode the running statistics of batch norm would drift to the new data, and
    dropout would add noise to the features. Load the backbone's weights with
    ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``.

    Args:
        *args, **kwargs: As for the stock classifier.

    Raises:
        ValueError: When the weights are initialised, if that file does not
            hold the whole backbone.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        for part in self._frozen():
            part.requires_grad_(False)
        self.train()

    def _frozen(self) -> list[nn.Module]:
        return [self.backbone, *([self.neck] if self.with_neck else [])]

    def init_weights(self) -> None:
        """Initialise, and check that the file held the whole backbone.

        MMEngine only warns about missing weights, and a probe on random
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
        """Switch only the head to train mode."""
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self
