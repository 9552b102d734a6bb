"""Views: a teacher's logits, the views they belong to, and who is right.

What is written of them is tested with the tool: tests/tools.
"""

from types import SimpleNamespace

import pytest
import tiny
import tiny_cls
import torch

from luminet_mm.launch.logit_cache import Views
from luminet_mm.teachers.cache_files import CacheError


def views_of(model):
    return Views(SimpleNamespace(model=model), 0)


def batch(sizes=(32, 32, 32)):
    raw = {'inputs': [], 'data_samples': []}
    for number, size in enumerate(sizes):
        one = tiny_cls.batch(1, seed=number, size=size)
        one['data_samples'][0].set_field(
            10 + number, 'view', field_type='metainfo'
        )
        for key, values in one.items():
            raw[key] += values
    return raw


@pytest.fixture
def model(mmpretrain_scope):
    return tiny_cls.build(tiny_cls.distiller())


def test_answers_are_the_teachers_own(model):
    views = views_of(model)
    raw = batch()
    # the third has two labels, of which none is the right one
    raw['data_samples'][2].set_gt_label([0, 1])
    numbers, logits, right = views.ask(raw)
    assert numbers.tolist() == [10, 11, 12]
    data = model.data_preprocessor(batch(), False)
    teacher = model.teacher.model.eval()
    with torch.no_grad():
        own = teacher(data['inputs'], mode='tensor')
        own = teacher.head(own) if isinstance(own, tuple) else own
    torch.testing.assert_close(logits, own.float())
    guesses = own.argmax(1).tolist()
    labels = [int(each.gt_label) for each in raw['data_samples'][:2]]
    expected = [g == label for g, label in zip(guesses, labels)]
    assert right.tolist() == [*map(int, expected), -1]


def test_images_that_would_be_padded_are_refused(model):
    with pytest.raises(CacheError, match='32x32, 48x48 pixels and would be'):
        views_of(model).ask(batch((32, 48)))


def test_a_detector_has_no_such_cache():
    model = tiny.build(tiny.distiller())
    with pytest.raises(CacheError, match='only classifiers and two-stage'):
        views_of(model)
