"""Which classes a teacher knows, and whether they are the student's."""

import pytest
from mmengine.config import Config

from luminet_mm.teachers.classes import (
    check_classes,
    classes_of_checkpoint,
    classes_of_config,
)

NAMES = ('cat', 'dog', 'hen', 'cow')


def test_names_and_their_order_must_agree():
    check_classes(NAMES, list(NAMES))
    with pytest.raises(ValueError, match="class 0 is 'cat'.*'dog'"):
        check_classes(NAMES, ('dog', 'cat', 'hen', 'cow'))
    with pytest.raises(ValueError, match='4 classes, the student 3.*cow'):
        check_classes(NAMES, ('cat', 'dog', 'hen'))


def test_names_that_nobody_says_are_not_compared():
    check_classes((), NAMES)
    check_classes(NAMES, ())


@pytest.mark.parametrize(
    'meta',
    [
        dict(dataset_meta=dict(classes=NAMES)),
        dict(dataset_meta=dict(CLASSES=list(NAMES))),  # MMDetection 3.0
        dict(CLASSES=NAMES),  # MMDetection 2
        dict(dataset_meta='lost', CLASSES=NAMES),
    ],
)
def test_a_checkpoint_of_any_age_says_them(meta):
    assert classes_of_checkpoint(dict(meta=meta)) == NAMES


@pytest.mark.parametrize('meta', [None, {}, dict(CLASSES='cat')])
def test_a_checkpoint_may_not_say_them(meta):
    assert classes_of_checkpoint(dict(meta=meta)) == ()


def test_a_config_says_them_below_any_wrapper():
    dataset = dict(metainfo=dict(classes=NAMES))
    for wrapped in (
        dataset,
        dict(type='RepeatDataset', dataset=dataset),
        dict(type='ConcatDataset', datasets=[dataset, dataset]),
    ):
        cfg = Config(dict(train_dataloader=dict(dataset=wrapped)))
        assert classes_of_config(cfg) == NAMES
    assert classes_of_config(Config(dict(train_dataloader=None))) == ()
