"""The contract of families notices families that break it."""

from contextlib import contextmanager

import pytest
import tiny_cls
import torch
from signals.contract import FamilyContract

from luminet_mm.signals.classifier import Classifier


class Kept(FamilyContract):
    family = Classifier()

    def config(self, kind, **options):
        return tiny_cls.classifier(kind, **options)

    def batch(self, kind, **options):
        return tiny_cls.batch(**options)


class Shifts(Classifier):
    """Row i of an answer is the student's row i + 1."""

    def answer(self, model, ahead, questions, record):
        answers = super().answer(model, ahead, questions, record)
        return [
            each.roll(1, 0) if isinstance(each, torch.Tensor) else each
            for each in answers
        ]


class Leaves(Classifier):
    """A hook stays on the model."""

    @contextmanager
    def record(self, model, signals, images, samples):
        with super().record(model, signals, images, samples) as record:
            yield record
        model.head.register_forward_hook(lambda *_: None)


class Counts(Classifier):
    """Any number of classes will do."""

    def num_classes(self, model, signals):
        return 4


@pytest.mark.parametrize(
    ('family', 'test'),
    [
        (Shifts, 'test_a_model_answers_what_it_said_itself'),
        (Leaves, 'test_nothing_is_left_on_the_model'),
        (Counts, 'test_other_classes_are_refused_with_both_numbers'),
    ],
)
def test_a_broken_family_fails(family, test, mmpretrain_scope):
    getattr(Kept(), test)('resnet')
    broken = type('Broken', (Kept,), dict(family=family()))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(broken(), test)('resnet')


def test_a_contract_needs_models():
    with pytest.raises(AssertionError, match='Empty has no config'):

        class Empty(FamilyContract):
            family = Classifier()

        Empty().model('resnet')
