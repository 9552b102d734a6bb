"""The configs of teacher, student and distilled student, and what differs."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from mmengine.config import Config

from luminet_mm.report.groups import Group

CONTEXT = 2  # lines around a change


@dataclass
class Diff:
    """What differs between two configs.

    Attributes:
        title: Which two.
        lines: Pairs of a kind (``add``, ``del``, ``at`` or empty) and text.
    """

    title: str
    lines: list[tuple[str, str]]


def config_text(group: Group) -> str:
    """The config of a group, without where its runs were kept."""
    return re.sub(
        r'^(work_dir|launcher|resume) = .*\n',
        '',
        group.runs[0].text,
        flags=re.MULTILINE,
    )


def written(settings: dict) -> str:
    """A config as MMEngine writes it; takes about a second."""
    return Config(settings).pretty_text if settings else ''


def diff(title: str, before: str, after: str) -> Diff:
    """Compare two texts line by line.

    Args:
        title: Which two.
        before: The first.
        after: The second.
    """
    kinds = {'+': 'add', '-': 'del', '@': 'at'}
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), lineterm='', n=CONTEXT
    )
    shown = [line for line in lines if not line.startswith(('---', '+++'))]
    return Diff(title, [(kinds.get(line[:1], ''), line) for line in shown])
