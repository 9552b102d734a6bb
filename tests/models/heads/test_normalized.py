"""A classifier whose logits are standardised over the classes."""

import torch
from torch.nn import functional as F

from luminet_mm.models import NormalizedClsHead


def test_logits_are_standardised_over_the_classes():
    torch.manual_seed(0)
    head = NormalizedClsHead(5, 3, init_cfg=None)
    feats = (torch.randn(4, 3),)
    logits = head(feats)
    plain = head.fc(feats[0])
    torch.testing.assert_close(logits.mean(1), torch.zeros(4))
    torch.testing.assert_close(
        logits.std(1, unbiased=False), torch.full((4,), 2.5)
    )
    assert logits.argsort(1).equal(plain.argsort(1))
    torch.testing.assert_close(
        logits, F.layer_norm(plain, (5,), None, None, 1e-7) * 2.5
    )
