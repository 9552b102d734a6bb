"""MutualClassifier: students of MMPretrain that teach one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from luminet_mm.distillers.auto import set_weights
from luminet_mm.distillers.classifier import ClassifierDistiller
from luminet_mm.distillers.refusals import check_free, check_logits
from luminet_mm.distillers.step import Step
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.registry import MODELS
from luminet_mm.rng import preserved_rng
from luminet_mm.signals.classifier import ClassifierRecord
from luminet_mm.signals.family import Comparison
from luminet_mm.stock import model_config, stock_config
from luminet_mm.teachers.inputs import preprocess_alike


def mutual_losses(
    logits: Sequence[Tensor], loss: Callable[[Tensor, Tensor], Tensor]
) -> list[Tensor]:
    """Of each network the mean loss over its peers.

    Args:
        logits: ``(B, C)`` of each of two networks or more.
        loss: Gets a network's logits and a peer's, to which it gives no
            gradient.

    Returns:
        A scalar for each network.
    """
    return [
        torch.stack(
            [loss(own, other) for j, other in enumerate(logits) if j != k]
        ).mean()
        for k, own in enumerate(logits)
    ]


@MODELS.register_module()
class MutualClassifier(ClassifierDistiller):
    r"""Deep mutual learning: a stock classifier that trains with its peers.

    `Deep Mutual Learning <https://arxiv.org/abs/1706.00384>`_. Of :math:`K`
    networks, all trained from the start on the same images, each has

    .. math:: L_k = \mathrm{CE}_k
              + \frac{1}{K - 1} \sum_{j \ne k} \mathrm{loss}(z_k, z_j)

    with the peer's logits :math:`z_j` as they are before the step, without
    gradient; for the paper the loss is ``KDLoss`` with ``tau=1``. All
    networks are updated at once. (The paper's Algorithm 1 updates one after
    the other and computes the predictions anew in between.) Other losses on
    logits work as well.

    The first network is this model and has the stock keys; the others are
    under ``peers.`` and have the same optimizer. ``tools/publish.py`` writes
    the first, with ``--peer 0`` the first of the others.

    Args:
        *args, **kwargs: As for the stock classifier.
        peers: Configs of the other networks: a path, a
            whole config or its ``model`` block. They have to normalise images
            as this model does.
        distill: Losses on logits by key, see
            :class:`~luminet_mm.distillers.mixin.DistillMixin`.

    Raises:
        ValueError: If there is no peer, a peer does not fit, or a loss
            compares something other than logits.

    Examples:
        >>> model = dict(
        ...     type='luminet_mm.MutualClassifier',
        ...     peers=['configs/cifar100/resnet32_cifar100.py'],
        ...     distill=dict(loss_dml=dict(
        ...         type='luminet_mm.KDLoss', signal='logits',
        ...         tau=1.0)))  # beside the first network's keys
    """

    needs_teacher = False

    def __init__(
        self, *args, peers: Sequence[str | dict] = (), **kwargs
    ) -> None:
        if kwargs.get('teacher'):
            raise ValueError(
                'model.teacher: the networks of a MutualClassifier teach one '
                'another. Remove the block, or set model.type to '
                "'luminet_mm.ClassifierDistiller'."
            )
        if kwargs.get('student'):
            raise ValueError(
                'model.student: the networks of a MutualClassifier are all '
                'students, and train in the usual memory layout. Remove the '
                'block.'
            )
        if not isinstance(peers, (list, tuple)) or not peers:
            raise ValueError(
                f'model.peers: {peers!r}; list the configs of the other '
                "networks, as in peers=['configs/cifar100/"
                "resnet32_cifar100.py']."
            )
        super().__init__(*args, **kwargs)
        with preserved_rng():
            self.peers = nn.ModuleList(
                self._build_peer(i, peer) for i, peer in enumerate(peers)
            )
        self._peer_comparisons = [
            self._compare_peer(i, peer) for i, peer in enumerate(self.peers)
        ]

    def _compare_peer(self, index: int, peer: Any) -> list[Comparison]:
        """Look up what the losses compare in a peer.

        Raises:
            ValueError: If it does not fit.
        """
        whose = f'peer (model.peers.{index})'
        compared = []
        for key, own in self.comparisons.items():
            theirs = [
                self.family.find(peer, each.name, whose)
                for each in own.student
            ]
            self.family.check(key, self, own.student, peer, theirs, whose)
            used = self.family.activation(peer, theirs)
            check_logits(
                key,
                self.distill[key],
                whose,
                used,
                theirs,
                self.family,
            )
            compared.append(Comparison(key, theirs, {}))
        return compared

    def build_connectors(self) -> None:
        """There are none: networks that teach one another compare logits.

        Raises:
            ValueError: If a loss compares something else, or would set its
                own weight.
        """
        for name, loss in self.distill.items():
            if not isinstance(loss, LogitLoss):
                raise ValueError(
                    f'model.distill.{name}: {type(loss).__name__} compares '
                    'features, and networks that teach one another compare '
                    'logits. Take a loss such as KDLoss or LumiNetLoss.'
                )
            if loss.auto is not None:
                raise ValueError(
                    f'model.distill.{name}.loss_weight: a weight that sets '
                    "itself is measured against one student's own losses, "
                    'and here every network has its own. Set a number.'
                )

    def _build_peer(self, index: int, config: str | dict) -> ImageClassifier:
        cfg = stock_config(model_config(config, key=f'model.peers.{index}'))
        scope = cfg.get('default_scope', self.family.scope)
        with DefaultScope.overwrite_default_scope(scope):
            peer = MMENGINE_MODELS.build(cfg.model)
        if not isinstance(peer, ImageClassifier):
            raise ValueError(
                f'model.peers.{index}: {type(peer).__name__} is not an '
                'ImageClassifier of MMPretrain.'
            )
        if not preprocess_alike(
            self.data_preprocessor, peer.data_preprocessor
        ):
            raise ValueError(
                f'model.peers.{index}: its data_preprocessor has another '
                'mean, std or channel order than that of the model, and all '
                'see the same images. Make them equal.'
            )
        return peer

    def init_weights(self) -> None:
        """Initialise all networks, each with random numbers of its own.

        The first starts, and sees the images, as a stock model does.
        """
        peers = self._modules.pop('peers')
        try:
            super().init_weights()
        finally:
            self._modules['peers'] = peers
        seed = torch.initial_seed()
        with preserved_rng():
            for i, peer in enumerate(self._peers()):
                torch.manual_seed((seed + i + 1) % 2**63)
                peer.init_weights()

    def _peers(self) -> list[ImageClassifier]:
        return list(self.peers)  # type: ignore[arg-type]

    def _networks(
        self,
    ) -> Iterator[tuple[str, ImageClassifier, list[Comparison]]]:
        """Each network: prefix of its entries, the model, what is compared."""
        yield '', self, list(self.comparisons.values())
        for i, peer in enumerate(self._peers()):
            yield f'peer{i}.', peer, self._peer_comparisons[i]

    def loss(self, inputs: Tensor, data_samples: list) -> dict:
        """Every network's losses, those of the peers as ``peer0.loss_...``.

        Args:
            inputs: Normalised images, ``(B, 3, H, W)``.
            data_samples: Labels.
        """
        active = [each.key for each in self.active_comparisons()]
        losses: dict[str, Any] = {}
        logits, records, own_losses = [], [], []
        for prefix, network, compared in self._networks():
            asked = [each.student for each in compared if each.key in active]
            with self.family.record(
                network, sum(asked, []), inputs, data_samples
            ) as record:
                own = ImageClassifier.loss(network, inputs, data_samples)
            own = self.family.own_losses(own)
            losses.update({prefix + key: own[key] for key in own})
            logits.append([record.value(signals) for signals in asked])
            records.append(record)
            own_losses.append(own)
        prefixes = [prefix for prefix, _, _ in self._networks()]
        self.add_idle_losses(losses, inputs, prefixes)

        batch = ClassifierRecord(self, data_samples).batch(())
        for name, values in zip(active, zip(*logits), strict=True):
            loss: Any = self.distill[name]
            known = loss.may_know(values[0], batch)
            terms = mutual_losses(values, partial(loss, batch=known))
            check_free(losses, name)
            for prefix, term in zip(prefixes, terms, strict=True):
                losses[prefix + name] = term
        if active:  # the first network, beside the mean of the others
            others = [torch.stack(z).mean(dim=0) for z in zip(*logits[1:])]
            step = Step(
                inputs,
                own_losses[0],
                losses,
                self.active_comparisons(),
                logits[0],
                others,
                records[0],
            )
            set_weights(self, step)
        return losses
