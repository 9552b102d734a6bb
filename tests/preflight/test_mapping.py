"""Classes of a teacher that are mapped to those of the data."""

import pytest
from checked import problem
from tiny import CLASSES

from luminet_mm.preflight import check_config
from luminet_mm.preflight.mapping import mapping_problems

ALL = {name: [f'teacher {name}'] for name in CLASSES}


def test_a_mapping_of_all_classes_is_accepted(config):
    config.model.teacher.classes = ALL
    check_config(config)


@pytest.mark.parametrize(
    ('classes', 'said'),
    [
        (['cat'], "model.teacher.classes: ['cat'] is not a mapping"),
        (
            dict(ALL, cow=['teacher cat']),
            "model.teacher.classes: 'teacher cat' twice",
        ),
        (
            {name: ALL[name] for name in CLASSES[:3]},
            "model.teacher.classes: the data have the classes 'cat', 'dog', "
            "'hen', 'cow', and the mapping lacks 'cow'.",
        ),
        (
            {name: ALL[name] for name in reversed(CLASSES)},
            'has their classes in another order',
        ),
        (dict(ALL, pig=['pig']), "has 'pig', which they lack"),
    ],
)
def test_a_wrong_one_names_the_key(config, classes, said):
    config.model.teacher.classes = classes
    assert said in problem(config)


def test_each_of_several_teachers_has_its_key(config):
    first = config.model.teacher
    second = dict(first, classes=dict(cat=['x']))
    config.model.teacher = [first, second]
    assert 'model.teacher.1.classes: the data' in problem(config)
    assert mapping_problems('model.teacher', dict(classes=None)) == []


def test_a_cache_has_the_teachers_own_classes(config):
    config.model.teacher.update(classes=ALL, cache='x')
    with pytest.raises(ValueError, match='classes: a cache holds logits of'):
        check_config(config)
