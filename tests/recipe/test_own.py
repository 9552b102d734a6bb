"""The user's own configs, put on the user's own data."""

import pytest
from mmengine.config import Config
from shapes import write_coco
from tiny import detector

from luminet_mm.preflight.epochs import sampler_problems, stage_warnings
from luminet_mm.preflight.hooks import hook_problems
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
        settings, choices = own.own_settings(
            name, own.load(name, '--student'), data, folder, 6
        )
        path = folder / 'student.py'
        path.write_text(config_text('A student.', settings))
        return Config.fromfile(path), choices

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
    cfg, choices = put(name)
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
    assert cfg.optim_wrapper.optimizer.lr == lr
    assert [each.name for each in choices][:2] == ['student', 'student lr']
    assert choices[1].value == f'{lr:g}'
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
    _, (_, rate) = put(str(tmp_path / 'mine.py'))
    assert (rate.value, rate.reason) == ('0.01', 'as in the config')


def test_a_run_of_iterations_becomes_one_of_epochs(put):
    cfg, choices = put('mmdet::retinanet/retinanet_r50_fpn_90k_coco.py')
    assert cfg.train_dataloader.sampler == dict(
        type='DefaultSampler', shuffle=True
    )
    assert cfg.train_dataloader.batch_sampler.type == 'AspectRatioBatchSampler'
    assert cfg.log_processor.by_epoch is True
    assert cfg.default_hooks.checkpoint.by_epoch is True
    assert cfg.default_hooks.checkpoint.interval == 1
    (said,) = [each for each in choices if each.name == 'student sampler']
    assert said.reason == 'InfiniteSampler would never end an epoch'
    assert not sampler_problems(cfg, 'train')


@pytest.mark.parametrize(
    ('name', 'hook', 'changed'),
    [
        (
            'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
            'PipelineSwitchHook',
            dict(switch_epoch=5),
        ),
        (
            'yolox/yolox_tiny_8xb8-300e_coco.py',
            'YOLOXModeSwitchHook',
            dict(num_last_epochs=1),
        ),
    ],
)
def test_the_last_stage_keeps_its_share(put, name, hook, changed):
    base = own.load(f'mmdet::{name}', '--student').custom_hooks
    cfg, choices = put(f'mmdet::{name}')
    assert len(cfg.custom_hooks) == len(base)
    for old, new in zip(base, cfg.custom_hooks, strict=True):
        expected = old | (changed if old.type == hook else {})
        assert plain([new]) == plain([expected])
    assert f'student {hook}' in [each.name for each in choices]
    assert not stage_warnings(cfg)


def test_a_base_with_lists_and_metrics_of_masks(tmp_path, put):
    name = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
    base = own.load(name, '')
    both = [base.val_evaluator, dict(type='CocoMetric', metric='segm')]
    base.val_evaluator = base.test_evaluator = both
    base.val_dataloader.dataset.data_prefix = 'val'
    base.train_dataloader.dataset.metainfo = None
    base.default_hooks.logger = None
    base.default_hooks.checkpoint.update(
        save_best='coco/segm_mAP', rule='greater', save_begin=9
    )
    base.custom_imports = dict(imports=['json'], allow_failed_imports=True)
    base.custom_hooks = [
        dict(type='EarlyStoppingHook', monitor='coco/segm_mAP', rule='less')
    ]
    base.dump(tmp_path / 'mine.py')
    cfg, _ = put(str(tmp_path / 'mine.py'))
    for phase in ('val', 'test'):
        assert cfg[f'{phase}_evaluator'].type == 'FasterCocoMetric'
        assert '_delete_' not in cfg[f'{phase}_evaluator']
    checkpoint = cfg.default_hooks.checkpoint
    assert checkpoint.save_best == 'coco/bbox_mAP'
    assert checkpoint.rule is None and checkpoint.save_begin == 0
    assert cfg.default_hooks.logger.type == 'LoggerHook'
    assert cfg.custom_hooks[0].monitor == 'coco/bbox_mAP'
    assert cfg.custom_imports == dict(
        imports=['json', 'luminet_mm'], allow_failed_imports=True
    )
    assert not hook_problems(cfg)


@pytest.mark.parametrize('lacking', ['val', 'test'])
def test_a_base_with_one_evaluator(tmp_path, put, lacking):
    base = own.load('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', '')
    base.val_evaluator = base.test_evaluator = [base.val_evaluator]
    base.pop(f'{lacking}_evaluator')
    base.dump(tmp_path / 'mine.py')
    cfg, _ = put(str(tmp_path / 'mine.py'))
    assert cfg.val_evaluator == cfg.test_evaluator
    assert '_delete_' not in cfg.val_evaluator


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
