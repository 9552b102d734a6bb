"""The user's own configs, put on the user's own data."""

import pytest
from mmengine.config import Config
from shapes import write_coco
from tiny import detector

from luminet_mm.recipe import own
from luminet_mm.recipe.coco import read_coco
from luminet_mm.recipe.config_text import config_text
from luminet_mm.recipe.dataset import DataError


def plain(pipeline):
    """Without the marks that MMEngine puts into bases of a package."""
    return [
        {key: value for key, value in each.items() if key != '_scope_'}
        for each in pipeline
    ]


@pytest.fixture
def data(tmp_path):
    root = write_coco(tmp_path / 'set', {'train': 8, 'val': 4})
    return read_coco(root, tmp_path / 'annotations')


@pytest.fixture
def put(tmp_path, data):
    """Return a function that writes a config on the data, and reads it."""

    def on(name):
        folder = tmp_path / 'configs'
        folder.mkdir(exist_ok=True)
        settings, rate, why = own.own_settings(
            name, own.load(name, '--student'), data, folder, 6
        )
        path = folder / 'student.py'
        path.write_text(config_text('A student.', settings))
        return Config.fromfile(path), rate, why

    return on


@pytest.mark.parametrize(
    ('name', 'lr'),
    [
        ('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', 0.00125),
        # iterations instead of epochs; its base says 16 images, its name 256
        ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', 0.0005),
    ],
)
def test_a_config_of_the_zoo(put, data, name, lr):
    base = own.load(name, '--student')
    cfg, rate, _ = put(name)
    for phase in ('train', 'val', 'test'):
        dataset = cfg[f'{phase}_dataloader'].dataset
        assert dataset.type == 'CocoDataset'
        assert dataset.data_root == f'{data.root}/'
        assert dataset.metainfo == dict(classes=('disc', 'square'))
        old = base[f'{phase}_dataloader'].dataset
        assert plain(dataset.pipeline) == plain(old.pipeline)
    assert cfg.model.bbox_head.num_classes == 2
    cfg.model.bbox_head.num_classes = 80
    cfg.model.pop('_scope_')  # as MMEngine marks a base of a package
    assert cfg.model == base.model
    assert cfg.train_cfg.max_epochs == 6
    assert (
        cfg.optim_wrapper.optimizer.type == base.optim_wrapper.optimizer.type
    )
    assert cfg.optim_wrapper.optimizer.lr == rate == lr
    assert cfg.val_evaluator == dict(
        type='FasterCocoMetric',
        ann_file=str(data.val.ann_file),
        metric='bbox',
    )


def test_all_heads_of_a_cascade_get_the_classes():
    model = detector('cascade', num_classes=4)
    changes = own.with_classes(model, 3)
    merged = Config(dict(model=model))
    merged.merge_from_dict(dict(model=changes))
    heads = merged.model.roi_head.bbox_head
    assert [head.num_classes for head in heads] == [3, 3, 3]
    assert heads[0].fc_out_channels == 32
    assert 'rpn_head' not in changes


def test_a_classifiers_top_5_goes_with_its_classes():
    head = dict(num_classes=1000, topk=(1, 5), in_channels=8)
    assert own.with_classes(dict(head=head), 3) == dict(
        head=dict(num_classes=3, topk=(1,))
    )


def test_the_rate_of_a_config_of_the_users_own(tmp_path, put):
    base = own.load('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', '')
    base.pop('auto_scale_lr')
    base.dump(tmp_path / 'mine.py')
    _, rate, why = put(str(tmp_path / 'mine.py'))
    assert (rate, why) == (0.01, 'as in the config')


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('https://example.org/a.py', 'not read from the network'),
        ('mmdet::retinanet/no_such_config.py', 'is not in the zoo'),
    ],
)
def test_a_config_that_cannot_be_read(name, message):
    with pytest.raises(DataError, match=message):
        own.load(name, '--teacher')


def test_several_data_sets_are_refused(data, tmp_path):
    base = own.load('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', '')
    one = base.train_dataloader.dataset
    base.train_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[one, one]
    )
    with pytest.raises(DataError, match='it is not one data set'):
        own.own_settings('a.py', base, data, tmp_path, 3)
    base.pop('model')
    with pytest.raises(DataError, match='has no model; give a whole config'):
        own.own_settings('a.py', base, data, tmp_path, 3)


def test_a_file_is_a_base_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert own.base_of('a.py') == str(tmp_path / 'a.py')
    assert own.base_of('mmdet::a.py') == 'mmdet::a.py'
