"""Check that a DETR has as many predictions as it is to keep."""

from __future__ import annotations

from mmengine.config import Config


def query_problems(cfg: Config) -> list[str]:
    """Compare ``test_cfg.max_per_img`` with the predictions of all queries.

    MMDetection takes the best of them, and fails in the first validation,
    after an epoch, where there are fewer.

    Args:
        cfg: The whole config.

    Examples:
        >>> from mmengine.config import Config
        >>> from luminet_mm.preflight.queries import query_problems
        >>> head = dict(num_classes=2, loss_cls=dict(use_sigmoid=True))
        >>> model = dict(
        ...     num_queries=20, bbox_head=head, test_cfg=dict(max_per_img=100))
        >>> print(*query_problems(Config(dict(model=model))))
        model.test_cfg.max_per_img: 100, but 20 queries of 2 classes give 40 \
predictions; set it to 40 or less
    """
    model = cfg.get('model') or {}
    head = model.get('bbox_head') or {}
    kept = (model.get('test_cfg') or {}).get('max_per_img')
    queries, classes = model.get('num_queries'), head.get('num_classes')
    if not (
        isinstance(kept, int)
        and isinstance(queries, int)
        and isinstance(classes, int)
    ):
        return []
    sigmoid = (head.get('loss_cls') or {}).get('use_sigmoid')
    found = queries * classes if sigmoid else queries
    if kept <= found:
        return []
    of = f' of {classes} classes' if sigmoid else ''
    return [
        f'model.test_cfg.max_per_img: {kept}, but {queries} queries{of} give '
        f'{found} predictions; set it to {found} or less'
    ]
