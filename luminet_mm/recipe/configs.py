"""Write the three configs: teacher, student, distilled student."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from PIL import Image

from luminet_mm.files.atomic import write_atomically
from luminet_mm.files.config_file import read_config
from luminet_mm.preflight.faults import is_remote
from luminet_mm.recipe import blocks, own, small
from luminet_mm.recipe.budget import epochs_of
from luminet_mm.recipe.config_text import Code, config_text
from luminet_mm.recipe.dataset import Data, is_photo
from luminet_mm.recipe.families import recipe_for, schedule_of
from luminet_mm.recipe.fitting import Choice, fit_boxes, fit_photos
from luminet_mm.recipe.paths import HERE, copy_weights, from_config
from luminet_mm.recipe.request import Request

LOOKED_AT = 200


def write_configs(request: Request, data: Data, epochs: int) -> list[Choice]:
    """Write the configs of all three roles.

    Args:
        request: What was asked for.
        data: The data.
        epochs: Of a student; a teacher has more.

    Returns:
        What was chosen, and why.

    Raises:
        DataError: If the pair cannot be distilled.
    """
    batch, choices = _student(request, data, epochs)
    steps = -(-data.train.images // batch)
    choices += _teacher(request, data, epochs, steps)
    return choices + _distilled(request, epochs, steps)


# -- each of the three ------------------------------------------------------


def _student(
    request: Request, data: Data, epochs: int
) -> tuple[int, list[Choice]]:
    number = epochs_of(epochs)['student']
    title = 'The student alone: what distillation has to beat.'
    if request.student:
        name = request.student[0]
        batch, settings, choices = _own(request, name, data, number, 'student')
        if len(request.student) > 1:
            settings['load_from'] = _file(request.student[1])
    elif data.detects:
        batch, settings, choices = _small_detector(request, data, number)
    else:
        batch, settings, choices = _small_classifier(request, data, number)
    settings['randomness'] = dict(seed=request.seed)
    _write(request, 'student', title, _needs(data), settings)
    return batch, choices


def _teacher(
    request: Request, data: Data, epochs: int, steps: int
) -> list[Choice]:
    number = epochs_of(epochs)['teacher']
    title = 'The teacher: larger, and trained longer.'
    if request.teacher:
        name = request.teacher[0]
        _, settings, choices = _own(request, name, data, number, 'teacher')
        settings['randomness'] = dict(seed=request.seed)
        if len(request.teacher) > 1:
            title = 'The teacher on these data; it is trained already.'
            choices = [Choice('teacher', name, 'it is trained already')]
        _write(request, 'teacher', title, _needs(data), settings)
        return choices
    start = copy_weights(small.WEIGHTS[small.TEACHER], request.folder)
    make = small.detector_teacher if data.detects else small.classifier_teacher
    settings = dict(_base_='student.py', model=make(start))
    settings |= blocks.schedule_settings(number, steps, small.LAST_LR)
    _write(request, 'teacher', title, _needs(data), settings)
    return [
        Choice(
            'teacher',
            'half as wide again as the student',
            'trained three times as long; --teacher names another',
        )
    ]


def _distilled(request: Request, epochs: int, steps: int) -> list[Choice]:
    student = read_config(request.config('student'), 'config')
    teacher = read_config(request.config('teacher'), 'config')
    recipe = recipe_for(student, teacher)
    losses = recipe.losses
    before = (
        [Code('*_base_.custom_hooks')] if student.get('custom_hooks') else []
    )
    given = len(request.teacher) > 1
    settings = dict(
        _base_='student.py',
        model=dict(
            type=recipe.kind,
            teacher=_teacher_block(request, epochs) | recipe.teacher,
            distill=losses,
        ),
        custom_hooks=[
            *before,
            dict(type='luminet_mm.TeacherCheckHook', evaluate=given),
            dict(type='luminet_mm.DistillMonitorHook'),
            dict(
                type='luminet_mm.DistillScheduleHook',
                **schedule_of(losses, steps * epochs),
            ),
        ],
    )
    needs = (
        'the checkpoint of the teacher'
        if given
        else 'the trained teacher: see teacher.py in this folder'
    )
    title = 'The student that also learns from the teacher.'
    _write(request, 'distilled', title, needs, settings)
    shown = ', '.join(each['type'].split('.')[1] for each in losses.values())
    choices = [Choice('losses', shown, recipe.why)]
    if boxes := recipe.teacher.get('boxes_per_step'):
        why = 'the teacher chooses them: it knows where objects are'
        choices.append(Choice('compared', f'{boxes} boxes of an image', why))
    return choices


def _teacher_block(request: Request, epochs: int) -> dict[str, Any]:
    if len(request.teacher) > 1:
        return dict(
            config=own.base_of(request.teacher[0]),
            checkpoint=_file(request.teacher[1]),
        )
    last = epochs_of(epochs)['teacher']
    path = Path(request.out) / 'teacher' / f'epoch_{last}.pth'
    return dict(
        config=f'{HERE}/teacher.py',
        checkpoint=from_config(path, request.folder),
    )


# -- models -----------------------------------------------------------------


def _own(
    request: Request, name: str, data: Data, epochs: int, role: str
) -> tuple[int, dict[str, Any], list[Choice]]:
    cfg = own.load(name, f'--{role}')
    if '::' not in name and Config._is_lazy_import(name):
        # a pure Python config cannot be a base of one in text
        copy = request.folder / f'{role}_base.py'
        copy.parent.mkdir(parents=True, exist_ok=True)
        cfg.dump(copy)
        name = str(copy)
    settings, choices = own.own_settings(
        name, cfg, data, request.folder, epochs, role
    )
    batch = int(cfg.train_dataloader.get('batch_size', 1))
    return batch, settings, choices


def _small_detector(
    request: Request, data: Data, epochs: int
) -> tuple[int, dict[str, Any], list[Choice]]:
    fit = fit_boxes(data)
    start = copy_weights(small.WEIGHTS[small.STUDENT], request.folder)
    settings: dict[str, Any] = dict(
        _base_=small.DETECTOR_BASES,
        custom_imports=dict(
            imports=['luminet_mm'], allow_failed_imports=False
        ),
        **blocks.coco_settings(
            data, request.folder, fit.scale, fit.batch_size, request.flip
        ),
        model=small.detector_student(len(data.classes), fit, start),
    )
    settings |= _training(data, fit.batch_size, epochs, 0.02)
    return fit.batch_size, settings, [*fit.choices, *_rest(request, start)]


def _small_classifier(
    request: Request, data: Data, epochs: int
) -> tuple[int, dict[str, Any], list[Choice]]:
    side, batch, choices = fit_photos(_sides(data), data.train.images)
    start = copy_weights(small.WEIGHTS[small.STUDENT], request.folder)
    settings: dict[str, Any] = dict(
        _base_=small.CLASSIFIER_BASES,
        custom_imports=dict(
            imports=['luminet_mm'], allow_failed_imports=False
        ),
        **blocks.folder_settings(
            data, request.folder, side, batch, request.flip
        ),
        model=small.classifier_student(len(data.classes), start),
    )
    settings |= _training(data, batch, epochs, 0.05)
    return batch, settings, [*choices, *_rest(request, start)]


def _training(
    data: Data, batch: int, epochs: int, decay: float
) -> dict[str, Any]:
    steps = -(-data.train.images // batch)
    return dict(
        **blocks.schedule_settings(epochs, steps, small.LAST_LR),
        **blocks.loops(),
        optim_wrapper=small.optimizer(decay),
        **blocks.hook_settings(steps),
    )


def _rest(request: Request, start: str | None) -> list[Choice]:
    flip = Choice(
        'mirroring',
        'half of the training images' if request.flip else 'none',
        '--no-flip if a mirrored object is another one, as a digit is'
        if request.flip
        else '--no-flip',
    )
    weights = Choice(
        'start',
        'weights that classify digits' if start else 'random weights',
        'they are shipped, and better than random ones'
        if start
        else 'the project\'s folder "weights" is not there',
    )
    rate = Choice('lr', f'{small.LR:g}', 'AdamW, one cosine')
    return [flip, weights, rate]


# -- small things -----------------------------------------------------------


def _sides(data: Data) -> np.ndarray:
    """Short sides of some photos."""
    sides = []
    for folder, inner, files in os.walk(data.train.photos):
        inner.sort()
        for name in sorted(files)[: max(1, LOOKED_AT // len(data.classes))]:
            if is_photo(Path(name)):
                with Image.open(os.path.join(folder, name)) as opened:
                    sides.append(min(opened.size))
    return np.array(sides)


def _file(name: str) -> str:
    return name if is_remote(name) else str(Path(name).expanduser().resolve())


def _needs(data: Data) -> str:
    return (
        f'{data.train.images} images of {len(data.classes)} classes to train '
        f'on, {data.val.images} to validate with, in data_root'
    )


def _write(
    request: Request, role: str, title: str, needs: str, settings: dict
) -> None:
    path = request.config(role)
    place = Path(request.out) / role
    settings['work_dir'] = from_config(place, request.folder)
    shown = os.path.relpath(path)
    lines = [
        f'Needs    {needs}.',
        f'Run      python tools/train.py {shown}',
        'Derived  all numbers: by tools/distill.py, which prints why.',
    ]
    header = '\n'.join(
        textwrap.fill(
            line,
            width=78,
            subsequent_indent=' ' * 9,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines
    )
    header = f'{title}\n\n{header}'
    write_atomically(path, config_text(header, settings))
