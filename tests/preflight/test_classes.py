"""Classes of folders and of built data sets, and the heads of classifiers."""

import pytest
from mmengine.config import Config
from mmpretrain.datasets import CustomDataset
from PIL import Image
from tiny_cls import classifier

from luminet_mm.preflight import ConfigError, check_annotations, check_config

NAMES = ('cat', 'dog', 'hen')


def folders(root, names):
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (8, 8)).save(root / name / '0.png')


@pytest.fixture
def config(tmp_path):
    loaders = {}
    for phase in ('train', 'val'):
        folders(tmp_path / phase, NAMES)
        loaders[f'{phase}_dataloader'] = dict(
            dataset=dict(
                type='CustomDataset',
                data_root=str(tmp_path),
                data_prefix=phase,
            )
        )
    return Config(
        dict(
            model=classifier(num_classes=3),
            default_scope='mmpretrain',
            **loaders,
        )
    )


def problem(config, **kwargs):
    with pytest.raises(ConfigError) as error:
        check_config(config, **kwargs)
    (line,) = str(error.value).splitlines()[1:]
    return line


def test_a_missing_folder_shifts_all_labels_after_it(config, tmp_path):
    check_config(config)
    (tmp_path / 'val/dog/0.png').unlink()
    (tmp_path / 'val/dog').rmdir()
    line = problem(config)
    assert 'val_dataloader.dataset: the folders in' in line
    assert "without 'dog'" in line
    folders(tmp_path / 'val', ['dog', 'sow'])
    assert "with 'sow'" in problem(config)


def test_folders_under_names_of_the_config(config, tmp_path):
    """MMPretrain asks for their number alone."""
    for phase in ('train', 'val'):
        config[f'{phase}_dataloader'].dataset.metainfo = dict(
            classes=('Cat', 'Dog', 'Hen')
        )
    check_config(config)
    (tmp_path / 'val/hen').rename(tmp_path / 'val/bee')
    assert "without 'hen', with 'bee'" in problem(config)
    config.val_dataloader.dataset.data_prefix = 'train'
    (tmp_path / 'train/hen').rename(tmp_path / 'train/bee')
    check_config(config)
    folders(tmp_path / 'train', ['ant'])
    assert 'has 4 folders and the config names 3 classes' in ' '.join(
        problems(config)
    )


def problems(config):
    with pytest.raises(ConfigError) as error:
        check_config(config)
    return str(error.value).splitlines()[1:]


@pytest.mark.parametrize('number, fails', [(2, True), (3, False), (5, False)])
def test_a_classifiers_head(config, number, fails):
    """Columns too many stay empty; one too few is an IndexError."""
    config.model.head.num_classes = number
    if not fails:
        check_config(config)
        return
    line = problem(config)
    assert 'model.head.num_classes: 2, but train_dataloader.dataset' in line
    assert '3 classes (cat, dog, hen); set it to 3' in line


def test_mixed_labels_need_the_number_as_well(config):
    config.model.data_preprocessor.num_classes = 2
    assert 'model.data_preprocessor.num_classes: 2' in problem(config)
    config.data_preprocessor = config.model.pop('data_preprocessor')
    assert '- data_preprocessor.num_classes: 2' in problem(config)


def test_built_data_sets(tmp_path):
    """For runs that did not come through check_config."""
    folders(tmp_path / 'train', NAMES)
    folders(tmp_path / 'val', ['cat', 'hen'])
    train, val = (
        CustomDataset(data_root=str(tmp_path / phase))
        for phase in ('train', 'val')
    )
    check_annotations([train, train])
    with pytest.raises(ConfigError) as error:
        check_annotations([train, val])
    assert f'{tmp_path}/val' in str(error.value)
    assert "without 'dog'" in str(error.value)
