"""Names of classes: in the config, in a COCO file, in a text file."""

from checked import problem, problems, write_categories
from tiny import CLASSES

from luminet_mm.preflight import (
    check_config,
)


def test_classes_of_validation_and_test(config, data):
    """They count in the order of their own data set."""
    (data / 'val.json').write_text((data / 'train.json').read_text())
    val = config.val_dataloader.dataset
    val.ann_file = 'val.json'
    config.val_evaluator.ann_file = str(data / 'val.json')
    write_categories(data, ['hen', 'cat', 'dog', 'cow'], 'val.json')
    val.metainfo.classes = ('hen', 'cat', 'dog', 'cow')
    line = problem(config)
    assert 'val_dataloader.dataset: its classes differ from those of train_d'
    assert "number 0 is 'hen', not 'cat'" in line
    write_categories(data, ['cat', 'hen', 'cow'], 'val.json')
    val.metainfo.classes = ('cat', 'hen', 'cow')
    config.test_dataloader = config.val_dataloader
    lines = problems(config, phases=('test', 'train'))
    assert 'test_dataloader.dataset: ' in lines[0]
    assert "without 'dog'" in lines[0]


def test_a_class_twice(config):
    config.train_dataloader.dataset.metainfo.classes = ['cat', 'cat']
    config.val_dataloader.dataset.metainfo.classes = ['cat', 'cat']
    assert any("'cat' twice" in line for line in problems(config))


def test_missing_categories_are_named(config, data):
    write_categories(data, ['cat', 'wolf', 'hen'])
    line = problems(config)[0]
    assert 'train_dataloader.dataset.ann_file' in line
    assert f'{data / "train.json"} lacks 2 of 4 needed categories' in line
    assert 'dog, cow (it has cat, wolf, hen)' in line


def test_the_classes_of_the_data_set_count_by_default(config):
    config.train_dataloader.dataset.pop('metainfo')
    line = problem(config)
    assert 'of 80 needed categories: person' in line


def test_further_categories_are_fine(config, data):
    write_categories(data, ['ant', 'cat', 'dog', 'wolf', 'hen', 'cow'])
    check_config(config)


def test_order_of_categories(config, data):
    """CocoDataset numbers by the file's order, whatever `classes` says."""
    write_categories(data, ['cat', 'hen', 'dog', 'cow'])
    line = problems(config)[0]
    assert "number 1 is 'hen' in the file and 'dog' in the config" in line


def test_a_category_twice(config, data):
    write_categories(data, [*CLASSES, 'cow'])
    assert "or twice: number 4 is 'cow' in the file;" in problems(config)[0]


def test_classes_from_a_file(config, data):
    names = data / 'names.txt'
    names.write_text('\n'.join(CLASSES))
    config.train_dataloader.dataset.metainfo.classes = str(names)
    check_config(config)
    names.write_text('cat\nwolf')
    assert 'needed categories: wolf' in problem(config)


def test_single_class_without_its_comma(config):
    config.train_dataloader.dataset.metainfo.classes = 'cat'
    assert "written ('cat', ) with a comma" in problem(config)


def test_broken_annotation_file(config, data):
    (data / 'train.json').write_text('{"images": [')
    assert 'is not JSON' in problems(config)[0]
