"""Run the models over validation images: by class, and side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmdet.models import BaseDetector

from luminet_mm.report.classifiers import Labels
from luminet_mm.report.detectors import Boxes
from luminet_mm.report.groups import Group
from luminet_mm.report.images import ValImages
from luminet_mm.report.models import Model, load_models, reason
from luminet_mm.report.pictures import Case, order
from luminet_mm.report.tables import Table
from luminet_mm.timing.step import count_parameters

IMAGES = {Boxes: 500, Labels: 5000}  # by default
SECONDS = 30  # between two lines of progress


@dataclass
class Examined:
    """What the models showed.

    Attributes:
        by_class: A row for each class.
        confused: Pairs of classes; classifiers only.
        parts: Titles and cases of pictures.
        about: What the pictures show.
        teacher: The teacher's metrics, if the whole set was used.
        settings: The teacher's config, if a distillation config names it.
        parameters: How many a loaded model has, by its title.
        notes: What was left out, and why.
    """

    by_class: Table | None = None
    confused: Table | None = None
    parts: list[tuple[str, list[Case]]] = field(default_factory=list)
    about: str = ''
    teacher: dict[str, float] = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def examine(
    groups: Sequence[Group],
    best: Group | None,
    images: int | None,
    pictures: int,
    say: Callable[[str], None],
) -> Examined:
    """Load the models and let them predict.

    Args:
        groups: Student, distilled and perhaps teacher.
        best: The distilled group.
        images: How many images at most; None for :data:`IMAGES`.
        pictures: How many that gained, and how many that lost.
        say: Shows progress.

    Returns:
        What was found. Whatever goes wrong becomes a note.
    """
    found = Examined()
    models, found.notes = load_models(groups, best)
    for model in models:
        if model.role == 'teacher':
            found.settings = model.settings
    found.parameters = {
        model.title: count_parameters(model.network) for model in models
    }
    if not any(model.role != 'teacher' for model in models):
        found.notes.append(
            'Results by class and pictures are left out, since no student '
            'can be loaded.'
        )
        return found
    try:
        _examine(found, models, groups, images, pictures, say)
    except Exception as error:  # data, evaluators and models are the user's
        found.notes.append(
            'Results by class and pictures are left out: '
            f'{reason(error)} ({type(error).__name__}).'
        )
    return found


def _examine(
    found: Examined,
    models: list[Model],
    groups: Sequence[Group],
    images: int | None,
    pictures: int,
    say: Callable[[str], None],
) -> None:
    detects = isinstance(models[0].network, BaseDetector)
    kind: Any = Boxes if detects else Labels
    settings = next(g for g in groups if g.role != 'teacher').settings
    data = ValImages(settings, images or IMAGES[kind])
    for model in list(models):
        if model.classes and data.classes and model.classes != data.classes:
            models.remove(model)
            found.notes.append(
                f'{model.title}: not shown, since its classes are not those '
                'of the data.'
            )
    outputs = []
    for model in models:
        say(f'{model.title}: predicts {data.count} images')
        outputs.append(data.predict(model.network, _ticker(data.count, say)))
    part = kind(models, data, outputs)
    found.by_class = part.by_class()
    found.by_class.caption = _caption(models, data, part.measure)
    found.confused = part.confused()
    found.about = part.about
    for model, scores in zip(models, part.scores):
        if model.role == 'teacher' and data.whole:
            found.teacher = part.metrics(scores)
    roles = [model.role for model in models]
    if 'student' in roles and 'distilled' in roles:
        student, best = roles.index('student'), roles.index('distilled')
        change = part.change(student, best)
        gained, lost = order(change, pictures)
        for title, indices in (('Gained most', gained), ('Lost most', lost)):
            cases = [part.case(i, float(change[i])) for i in indices]
            found.parts.append((title, cases))
    else:
        found.notes.append(
            'Pictures are left out: they need a checkpoint of the student '
            'alone and of a distilled run.'
        )


def _ticker(count: int, say: Callable[[str], None]) -> Callable[[int], None]:
    """Says how many images are done, every half a minute."""
    last = time.monotonic()

    def tick(done: int) -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS:
            last = time.monotonic()
            say(f'  {done} of {count}')

    return tick


def _caption(models: list[Model], data: ValImages, measure: str) -> str:
    which = f'all {data.total}'
    if not data.whole:
        which = f'the first {data.count} of {data.total}'
    sources = '; '.join(f'{each.title}: {each.source}' for each in models)
    return (
        f'{measure} on {which} validation images, one model each ({sources}).'
    )


def template_values(found: Examined) -> dict[str, Any]:
    """What the page's template shows of it."""
    pictures = None
    if any(cases for _, cases in found.parts):
        pictures = dict(
            about=found.about,
            parts=[
                dict(
                    title=title,
                    cases=cases,
                    cards=all(len(case.tiles) == 1 for case in cases),
                )
                for title, cases in found.parts
            ],
        )
    return dict(
        by_class=found.by_class,
        by_class_title='By class',
        confused=found.confused,
        pictures=pictures,
        counted=found.parameters,
    )
