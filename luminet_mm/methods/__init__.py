"""Information on every method, from the cards on the losses.

``python -m luminet_mm.methods`` prints docs/methods.md; ``--write`` writes all
pages that are generated from the cards. Grids of all methods and timing tools
read the same cards.
"""

from luminet_mm.methods.method import (
    METHODS,
    Method,
    compared,
    logit_losses,
    supervised,
)
from luminet_mm.methods.signals import TASKS, usual

__all__ = [
    'METHODS',
    'TASKS',
    'Method',
    'compared',
    'logit_losses',
    'supervised',
    'usual',
]
