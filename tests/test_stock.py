"""A distillation config turned back into its student's, and configs read."""

import pytest
import tiny
import tiny_cls
from mmengine.config import Config

from luminet_mm.stock import (
    RUN_KEYS,
    model_block,
    model_config,
    parse_config,
    peer_config,
    published_imports,
    stock_config,
    stock_config_text,
)


@pytest.fixture
def distilled():
    hooks = [dict(type='luminet_mm.TeacherCheckHook'), dict(type='EMAHook')]
    return Config(
        dict(
            model=tiny.distiller(),
            default_scope='mmdet',
            custom_hooks=hooks,
            default_hooks=dict(
                distill_monitor=dict(type='luminet_mm.DistillMonitorHook'),
                logger=dict(type='LoggerHook'),
                timer=None,
            ),
            work_dir='work',
        )
    )


def test_a_distiller_becomes_its_student(distilled):
    stock = stock_config(distilled)
    assert stock.model.type == 'mmdet.TwoStageDetector'
    expected = tiny.detector()
    for key in expected:
        if key != 'type':
            assert stock.model[key] == expected[key]
    assert set(stock.model) == set(expected)
    assert stock.custom_hooks == [dict(type='EMAHook')]
    assert stock.default_hooks == dict(
        logger=dict(type='LoggerHook'), timer=None
    )
    assert 'teacher' in distilled.model


def test_a_stock_config_stays_as_it_is():
    cfg = Config(dict(model=tiny.detector(), default_scope='mmdet'))
    assert stock_config(cfg).to_dict() == cfg.to_dict()
    assert stock_config(cfg) is not cfg


def test_replayed_data_become_the_data_alone(distilled):
    inner = dict(type='CocoDataset', ann_file='a.json')
    distilled.train_dataloader = dict(
        dataset=dict(type='luminet_mm.ReplayDataset', dataset=inner),
        sampler=dict(type='luminet_mm.ReplaySampler', shuffle=True),
    )
    loader = stock_config(distilled).train_dataloader
    assert loader.dataset == inner
    assert loader.sampler == dict(type='DefaultSampler', shuffle=True)


def test_a_preprocessor_of_views_becomes_the_stock_one(distilled):
    distilled.data_preprocessor = dict(
        type='luminet_mm.MultiViewClsDataPreprocessor', mean=[0.0]
    )
    stock = stock_config(distilled).data_preprocessor
    assert stock == dict(type='mmpretrain.ClsDataPreprocessor', mean=[0.0])


def test_a_type_that_nobody_knows(distilled):
    distilled.model.type = 'NotThere'
    with pytest.raises(ValueError, match="'NotThere' is not in a registry"):
        stock_config(distilled)


def test_the_text_of_a_checkpoint_is_parsed(distilled):
    text = stock_config_text(distilled.pretty_text)
    found = Config.fromstring(text, '.py')
    assert found.model == stock_config(distilled).model
    assert not set(found) & set(RUN_KEYS)
    assert stock_config_text('model = print()') is None
    assert parse_config('model = print()') is None
    assert parse_config('a = dict(b=[1, None])') == dict(a=dict(b=[1, None]))


@pytest.mark.parametrize(
    'settings, expected',
    [
        # a stock student: this package only serves operators, where it is
        (dict(), (['luminet_mm'], True)),
        (dict(imports=['luminet_mm']), (['luminet_mm'], True)),
        # a module of the user's is needed, whatever else is installed
        (dict(imports='mine'), (['mine'], None)),
        (
            dict(
                imports=['luminet_mm', 'mine.nets'], allow_failed_imports=False
            ),
            (['mine.nets'], False),
        ),
    ],
)
def test_what_a_published_config_imports(settings, expected):
    cfg = Config(dict(model=tiny.detector(), custom_imports=settings))
    found = published_imports(cfg)
    assert (found['imports'], found.get('allow_failed_imports')) == expected
    # a student with a type of this package cannot do without it
    cfg.model.backbone = dict(type='luminet_mm.VGG')
    assert published_imports(cfg)['imports'] == [
        'luminet_mm',
        *(name for name in expected[0] if name != 'luminet_mm'),
    ]
    assert not published_imports(cfg).get('allow_failed_imports')


def test_a_peer_of_mutual_learning():
    model = tiny_cls.classifier()
    peer = tiny_cls.classifier(width=12)
    cfg = Config(
        dict(
            model=dict(
                model,
                type='luminet_mm.MutualClassifier',
                peers=[peer, dict(model=peer), 'a.py'],
                distill={},
            ),
            default_scope='mmpretrain',
        )
    )
    for place in (0, 1):
        assert peer_config(cfg, place).model == peer
    assert peer_config(cfg, 2) is None, 'its file is its config'
    assert peer_config(cfg, 3) is None


def test_a_preprocessor_beside_the_model_goes_into_it():
    beside = dict(type='ClsDataPreprocessor', num_classes=3)
    cfg = Config(dict(model=dict(type='A'), data_preprocessor=beside))
    assert model_block(cfg).data_preprocessor == beside
    cfg.model.data_preprocessor = dict(type='B')
    assert model_block(cfg).data_preprocessor == dict(type='B')
    assert 'data_preprocessor' in cfg


def test_a_config_is_a_file_a_name_or_a_dict(tmp_path):
    whole = dict(model=dict(type='A'), data_preprocessor=dict(type='B'))
    (tmp_path / 'a.py').write_text(Config(whole).pretty_text)
    for config in (whole, whole['model'], str(tmp_path / 'a.py')):
        assert model_config(config).model.type == 'A'
    assert model_config(whole).model.data_preprocessor == dict(type='B')
    zoo = model_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    assert zoo.model.type == 'FasterRCNN'


@pytest.mark.parametrize(
    'config, error, said',
    [
        ('gone.py', FileNotFoundError, "teacher.config 'gone.py': no such"),
        ('mmdet::gone.py', FileNotFoundError, "Write 'mmdet::<folder>"),
        (dict(a=1, model=None), ValueError, 'has no `model` block'),
    ],
)
def test_a_config_that_is_not_there(config, error, said, tmp_path):
    if isinstance(config, dict):
        config = str(tmp_path / 'empty.py')
        (tmp_path / 'empty.py').write_text('a = 1')
    with pytest.raises(error, match=said):
        model_config(config)
    if error is FileNotFoundError:
        with pytest.raises(error, match=r'model\.peers\.0'):
            model_config(config, 'model.peers.0')
