"""DeiTDistillHead: a trainable DeiT head for several tokens."""

from __future__ import annotations

from typing import Any

from mmpretrain.models import DeiTClsHead
from torch import Tensor, nn

from luminet_mm.registry import MODELS


@MODELS.register_module()
class DeiTDistillHead(DeiTClsHead):
    r"""One linear classifier per token; only the first learns from labels.

    MMPretrain's own head cannot be trained: its cross entropy would apply to
    the mean. Here, as in `DeiT <https://arxiv.org/abs/2012.12877>`_, the class
    token learns from the labels and each distillation token from a loss that
    names its classifier:

    ==========================  ===============================================
    signal                      value
    ==========================  ===============================================
    ``head.layers.head_dist``   ``(B, C)`` logits of the distillation token
    ``head.layers.head_dist2``  the same for the second one, and so on
    ``logits``                  ``(B, C)`` logits of the class token
    ==========================  ===============================================

    As in the stock head, predictions are the mean of all tokens' logits. With
    one distillation token the checkpoint keys are the stock head's as well.

    The head gives the classifiers of distillation tokens a gradient of 0, so
    that DDP also works when a schedule has switched their losses off.

    Args:
        num_classes: Number of classes.
        in_channels: Width of the tokens.
        num_dist_tokens: Number of distillation tokens that the backbone gives
            after the class token.
        **kwargs: As for the stock head.

    Raises:
        ValueError: If ``num_dist_tokens`` is not positive; in ``forward``, if
            the backbone gives another number of tokens.
    """

    def __init__(self, *args, num_dist_tokens: int = 1, **kwargs) -> None:
        if not isinstance(num_dist_tokens, int) or num_dist_tokens < 1:
            raise ValueError(
                f'DeiTDistillHead: num_dist_tokens is {num_dist_tokens!r}; '
                'set a whole number > 0, or use VisionTransformerClsHead.'
            )
        self.num_dist_tokens = num_dist_tokens
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        width = self.layers.head.in_features
        for name in self._heads()[2:]:
            self.layers.add_module(name, nn.Linear(width, self.num_classes))

    def _heads(self) -> list[str]:
        """Names of the classifiers, in the order of the tokens."""
        more = range(2, self.num_dist_tokens + 1)
        return ['head', 'head_dist', *(f'head_dist{i}' for i in more)]

    def pre_logits(self, feats: Any) -> tuple[Tensor, ...]:
        """The inputs of the classifiers.

        Args:
            feats: The backbone's output; its last entry holds the tokens,
                ``(B, in_channels)`` each, the class token first.

        Returns:
            As many.
        """
        tokens = feats[-1]
        given = 1 if isinstance(tokens, Tensor) else len(tokens)
        if given != len(self._heads()):
            raise ValueError(
                f'DeiTDistillHead: the backbone gives {given} token(s), and '
                f'num_dist_tokens={self.num_dist_tokens} needs '
                f'{len(self._heads())}. Use a backbone such as '
                "DistilledVisionTransformer with out_type='cls_token', or "
                'change num_dist_tokens.'
            )
        if self.hidden_dim is None:
            return tuple(tokens)
        return tuple(
            self.layers.act(self.layers.pre_logits(token)) for token in tokens
        )

    def token_logits(self, feats: Any) -> tuple[Tensor, ...]:
        """Each token's own logits.

        Args:
            feats: As for :meth:`pre_logits`.

        Returns:
            ``(B, C)`` for each token, the class token first.
        """
        return tuple(
            self.layers.get_submodule(name)(token)
            for name, token in zip(
                self._heads(), self.pre_logits(feats), strict=True
            )
        )

    def forward(self, feats: Any) -> Tensor:
        """The class token's logits in training, the mean of all in eval."""
        # Every classifier also runs in training: losses tap their outputs.
        first, *others = self.token_logits(feats)
        if not self.training:
            return sum(others, start=first) / (1 + len(others))
        idle = sum(
            0 * parameter.sum()
            for name in self._heads()[1:]
            for parameter in self.layers.get_submodule(name).parameters()
        )
        return first + idle
