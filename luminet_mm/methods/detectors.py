"""The table of docs/detectors.md: which method works on which detector."""

from __future__ import annotations

from pathlib import Path

from luminet_mm.methods.loss_tables import replaced
from luminet_mm.methods.markdown import table
from luminet_mm.methods.method import METHODS, Method

DETECTORS = {
    'Faster R-CNN': 'detector',
    'Mask R-CNN': 'detector',
    'Cascade R-CNN': 'detector',
    'RetinaNet': 'dense',
    'FCOS': 'dense',
    'ATSS': 'dense',
    'GFL': 'dense',
    'RTMDet': 'dense',
    'Deformable DETR': 'detr',
    'DINO': 'detr',
    'DAB-DETR': 'detr',
    'Conditional DETR': 'detr',
    'DETR': 'detr',
}
"""Each detector's task, in the order of the table's columns."""
PAGE = 'docs/detectors.md'


def works(method: Method, detector: str) -> bool:
    """Whether a method can be used on a detector.

    Args:
        method: The method.
        detector: One of :data:`DETECTORS`.

    Examples:
        >>> from luminet_mm.methods import METHODS
        >>> by_loss = {method.loss: method for method in METHODS}
        >>> works(by_loss['PKDLoss'], 'GFL')
        True
        >>> works(by_loss['LumiNetLoss'], 'GFL')  # it is for a softmax
        False
    """
    use = method.use(DETECTORS[detector])
    return use is not None and (not use.only or detector in use.only)


def detectors_page(root: Path) -> str:
    """docs/detectors.md with its table."""
    page = (root / PAGE).read_text(encoding='utf-8')
    rows = [
        [
            f'[{method.card.name}]({method.card.paper.url})',
            f'`{method.loss}`',
            *('✓' if works(method, each) else '–' for each in DETECTORS),
        ]
        for method in METHODS
        if any(works(method, each) for each in DETECTORS)
    ]
    return replaced(
        page, 'detectors', table(['method', 'class', *DETECTORS], rows), PAGE
    )
