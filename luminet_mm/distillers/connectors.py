"""Build what losses train beside the student, from a dry run."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from luminet_mm.distillers.levels import pair_levels
from luminet_mm.losses import FeatureLoss
from luminet_mm.rng import preserved_rng
from luminet_mm.signals.family import Comparison, Size
from luminet_mm.teachers.dry_run import (
    dry_sizes,
    first_that_runs,
    noise,
    said_of,
)


def build_connectors(model: Any) -> None:
    """Build what losses train beside the student.

    Both models see random images in eval mode. The random state stays as it
    was, so that the student starts as a stock one; the connectors' start
    follows from the run's seed.

    Args:
        model: The student, with its losses.

    Raises:
        ValueError: If a loss cannot compare the features, or a model runs on
            no image of the sizes that are tried.
    """
    _let_read(model)
    losses = {
        key: loss
        for key, loss in model.distill.items()
        if isinstance(loss, FeatureLoss)
    }
    if not losses:
        return
    comparisons = [model.comparisons[key] for key in losses]
    networks: list[nn.Module] = [model, *model.teachers.models]
    usual = model.family.sizes(networks)
    was_training = model.training
    model.eval()
    try:
        with preserved_rng():
            seed = torch.initial_seed() % 2**63 + 1
            size, students, teachers = first_that_runs(
                dry_sizes(networks, usual, model.dry_size),
                partial(_ask_both, model, comparisons, seed),
            )
            for comparison, student, teacher in zip(
                comparisons, students, teachers, strict=True
            ):
                loss = losses[comparison.key]
                heard = [model.teachers[i].model for i in comparison.teachers]
                across = any(
                    model.teachers[i].family(model.family) is not model.family
                    for i in comparison.teachers
                )
                pair_levels(loss, comparison, student, teacher, size, across)
                loss.build(student, teacher)
                for each in heard:
                    loss.read_teacher(each)
    finally:
        model.train(was_training)


def _let_read(model: Any) -> None:
    """Let losses read the models of which they need more than signals.

    Args:
        model: The student, with its losses.

    Raises:
        ValueError: If a loss cannot use them.
    """
    for key, loss in model.distill.items():
        comparison = model.comparisons[key]
        for index in comparison.teachers:
            teacher = model.teachers[index].read_as(model)
            if teacher is not None:  # a cache of logits has none
                loss.read_models(model, teacher, *comparison.names)


def _ask_both(
    model: Any, comparisons: list[Comparison], seed: int, size: Size
) -> tuple[Size, list, list]:
    """Size of the images, values of the student and of the teachers."""
    torch.manual_seed(seed)
    # All ranks and all seeds see one image, as connectors follow the signs of
    # what is said of it; the numbers drawn here are those after which
    # connectors have always started.
    image = noise(model, size)
    torch.rand(image.shape)
    own = [comparison.own for comparison in comparisons]
    with torch.no_grad(), said_of('student', model, image):
        students = model.family.dry(model, own, image)
    answers = model.teachers.dry(model.family, comparisons, image)
    return size, students, answers
