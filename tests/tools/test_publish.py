"""tools/publish.py: a student file that loads anywhere, and no more."""

import copy
import hashlib
import io

import numpy as np
import pytest
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.apis import init_model
from tiny import CLASSES, build, detector, distiller, runner

from luminet_mm.distillers import TwoStageDistiller
from luminet_mm.hooks import DistillScheduleHook
from luminet_mm.loading.checkpoint import load_checkpoint
from luminet_mm.methods import METHODS
from luminet_mm.stock import stock_config, stock_config_text


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """One epoch of a distiller, with averaged weights."""
    work = tmp_path_factory.mktemp('work')
    run = runner(
        distiller(),
        work,
        max_epochs=1,
        custom_hooks=[
            dict(type='EMAHook', momentum=0.5),
            dict(
                type='luminet_mm.DistillScheduleHook',
                loss_luminet=dict(warmup=2),
            ),
        ],
    )
    run.train()
    return work / 'epoch_1.pth'


@pytest.fixture
def publish(load_tool):
    return load_tool('publish').publish


class Custom:
    """A class that `weights_only=True` refuses."""


def test_student_of_a_training_checkpoint(publish, trained, tmp_path, capsys):
    path = publish(str(trained), str(tmp_path / 'new/student.pth'))
    content = path.read_bytes()
    assert path.name == (
        f'student-{hashlib.sha256(content).hexdigest()[:8]}.pth'
    )
    # As anyone would load it, without any list of allowed types.
    published = torch.load(io.BytesIO(content), weights_only=True)
    assert set(published) == {'meta', 'state_dict'}

    student = build(detector(), seed=3)
    student.load_state_dict(published['state_dict'], strict=True)
    ema = load_checkpoint(trained)
    assert 'ema_state_dict' in ema
    for key, value in published['state_dict'].items():
        assert torch.equal(value, ema['state_dict'][key])
    assert any(
        not torch.equal(value, ema['ema_state_dict'][f'module.{key}'])
        for key, value in published['state_dict'].items()
    )
    assert tuple(published['meta']['dataset_meta']['classes']) == CLASSES

    text = capsys.readouterr().out
    for key in ('optimizer', 'message_hub', 'ema_state_dict'):
        assert f'\n  {key}\n' in text


def test_published_config_is_the_stock_students(
    publish, run_tool, distilled, dump, tmp_path
):
    distilled.custom_hooks = [
        dict(
            type='luminet_mm.DistillScheduleHook', loss_luminet=dict(warmup=2)
        ),
        dict(type='CheckInvalidLossHook'),
    ]
    for key in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        distilled.pop(key)
    run_tool('train', dump(distilled))
    path = publish(str(tmp_path / 'work/epoch_1.pth'), str(tmp_path / 'out'))

    published = torch.load(path, weights_only=True)
    cfg = Config.fromstring(published['meta']['cfg'], '.py')
    assert cfg.model.type == 'mmdet.TwoStageDetector'
    assert 'teacher' not in cfg.model and 'distill' not in cfg.model
    assert 'work_dir' not in cfg
    assert [hook.type for hook in cfg.custom_hooks] == ['CheckInvalidLossHook']
    # mmdet's inferencer takes the config from the file.
    from mmdet.apis import DetInferencer

    inferencer = DetInferencer(weights=str(path), device='cpu')
    image = np.zeros((64, 64, 3), np.uint8)
    answer = inferencer(image, no_save_vis=True)
    assert len(answer['predictions'][0]['labels'])
    assert tuple(inferencer.model.dataset_meta['classes']) == CLASSES


def test_what_a_method_trained_is_dropped(publish, tmp_path, capsys):
    source = tmp_path / 'in.pth'
    torch.save(
        dict(
            state_dict={
                'backbone.w': torch.ones(2),
                'distill.loss_x.projector.w': torch.ones(2),
                'teacher.backbone.w': torch.ones(2),
            },
            meta={},
        ),
        source,
    )
    path = publish(str(source), str(tmp_path / 'out'))
    assert list(load_checkpoint(path)['state_dict']) == ['backbone.w']
    text = capsys.readouterr().out
    assert 'distill.loss_x.projector.w' in text
    assert 'teacher.backbone.w' in text


def test_same_student_same_name_and_nothing_is_overwritten(
    publish, run_tool, tmp_path
):
    source = tmp_path / 'in.pth'
    torch.save(dict(w=torch.ones(2)), source)
    path = publish(str(source), str(tmp_path / 'out'))
    path.write_text('precious')
    with pytest.raises(SystemExit) as error:
        run_tool('publish', source, tmp_path / 'out.pth')
    assert f'{path} already exists' in str(error.value)
    assert path.read_text() == 'precious'


def test_module_versions_survive(publish, tmp_path):
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(2))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'in.pth')
    path = publish(str(tmp_path / 'in.pth'), str(tmp_path / 'out'))
    weights = torch.load(path, weights_only=True)['state_dict']
    assert weights._metadata == model.state_dict()._metadata


def test_trust_converts_what_is_refused(publish, run_tool, tmp_path):
    source = tmp_path / 'in.pth'
    torch.save(
        dict(
            state_dict=dict(w=torch.ones(2)),
            meta=dict(
                dataset_meta=dict(classes=('a',), other=Custom()),
                epoch=torch.tensor(3),
            ),
        ),
        source,
    )
    with pytest.raises(SystemExit) as error:
        run_tool('publish', source, tmp_path / 'out')
    assert '--trust' in str(error.value)
    run_tool('publish', '--trust', source, tmp_path / 'out')
    (path,) = tmp_path.glob('out-*.pth')
    published = load_checkpoint(path)
    assert published['meta'] == dict(
        dataset_meta=dict(classes=('a',), other=None), epoch=3
    )
    assert published['state_dict']['w'].tolist() == [1, 1]


def test_trust_takes_a_pickled_module(publish, tmp_path):
    torch.save(torch.nn.Linear(2, 1), tmp_path / 'in.pth')
    path = publish(str(tmp_path / 'in.pth'), str(tmp_path / 'out'), trust=True)
    assert set(load_checkpoint(path)['state_dict']) == {'weight', 'bias'}


def test_half_refuses_what_it_cannot_hold(publish, tmp_path):
    weights = {'bn.running_var': torch.tensor([7e4]), 'w': torch.ones(1)}
    source = tmp_path / 'source.pth'
    torch.save(dict(state_dict=weights), source)
    with pytest.raises(ValueError, match='bn.running_var has values beyond'):
        publish(str(source), str(tmp_path / 'a'), half=True)
    weights['bn.running_var'][0] = torch.inf  # as it is in the source
    torch.save(dict(state_dict=weights), source)
    assert publish(str(source), str(tmp_path / 'a'), half=True).is_file()


def test_weights_of_a_model_that_is_not_imported(publish, tmp_path, capsys):
    source = tmp_path / 'source.pth'
    text = "model = dict(type='Mine', teacher=dict(config='a'))\n"
    torch.save(
        dict(state_dict={'w': torch.ones(1)}, meta=dict(cfg=text)), source
    )
    path = publish(str(source), str(tmp_path / 'a'))
    assert 'cfg' not in torch.load(path, weights_only=True)['meta']
    reason = "dropped, because model.type 'Mine' is not in a"
    assert reason in capsys.readouterr().out


def test_bare_weights_of_ddp(publish, tmp_path, capsys):
    source = tmp_path / 'source.pth'
    torch.save({'module.w': torch.ones(1)}, source)
    publish(str(source), str(tmp_path / 'a'))
    assert 'dropped 0 entries' in capsys.readouterr().out


def test_missing_source(run_tool, tmp_path):
    for flags in ([], ['--trust']):
        with pytest.raises(SystemExit, match='does not exist'):
            run_tool('publish', *flags, tmp_path / 'gone', tmp_path / 'out')


def test_config_text_is_parsed_not_run(tmp_path):
    mark = tmp_path / 'ran'
    for text in (
        f"__import__('os').mkdir('{mark}')",
        f"a = __import__('os').mkdir('{mark}')",
        f"a = dict(b=open('{mark}', 'w'))",
        "a = [c for c in 'abc']",
        'a.b = 1',
        'a = dict(',
    ):
        assert stock_config_text(text) is None
    assert not mark.exists()


def test_config_text_keeps_all_values():
    cfg = Config(
        dict(
            a=dict(b=[1, -2.5, (3, None)], c={'d-e': True, 'f': "it's"}),
            model=dict(type='mmdet.FasterRCNN', neck=None),
            paramwise={'custom_keys': {'a.b': dict(lr_mult=1e-3)}},
        )
    )
    text = stock_config_text(cfg.pretty_text)
    found = Config.fromstring(text, '.py').to_dict()
    assert found.pop('custom_imports')['imports'] == ['luminet_mm']
    assert found == cfg.to_dict()


@pytest.mark.parametrize(
    ('loss', 'signal'), [('SimKDLoss', ''), ('NORMLoss', '.expand')]
)
def test_what_a_method_deploys_is_kept(publish, tmp_path, loss, signal):
    """SimKD's and NORM's student, as docs/losses.md uses it."""
    student = tiny_cls.classifier()
    (method,) = (m for m in METHODS if m.loss == loss)
    parts = method.parts(64, 96)
    student['neck'] = parts['neck']
    student['head'].update(parts.get('head', {}))
    options = dict(factor=None) if loss == 'SimKDLoss' else {}
    cfg = Config(
        dict(
            default_scope='mmpretrain',
            model=tiny_cls.distiller(
                student,
                loss_x=dict(
                    type=f'luminet_mm.{loss}',
                    student=f'neck.0{signal}',
                    teacher='backbone',
                    levels=[-1],
                    **options,
                ),
            ),
        )
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(cfg.model)
    source = tmp_path / 'in.pth'
    torch.save(
        dict(
            state_dict=model.state_dict(),
            meta=dict(
                cfg=cfg.pretty_text,
                dataset_meta=dict(classes=tiny_cls.CLASSES),
            ),
        ),
        source,
    )
    path = publish(str(source), str(tmp_path / 'out'))
    cfg = Config.fromstring(torch.load(path)['meta']['cfg'], '.py')
    stock = init_model(cfg, str(path), device='cpu')
    assert type(stock).__name__ == 'ImageClassifier'
    images = torch.randn(4, 3, 32, 32)
    expected = model.eval()(images)
    assert stock(images).equal(expected)
    if loss == 'NORMLoss':
        stock.neck[0].switch_to_deploy()
        torch.save(dict(state_dict=stock.state_dict()), tmp_path / 'small.pth')
        cfg.merge_from_dict({'model.neck.0.deploy': True})
        stock = init_model(cfg, str(tmp_path / 'small.pth'), device='cpu')
        torch.testing.assert_close(
            stock(images), expected, rtol=1e-5, atol=1e-5
        )


def test_stock_config_of_types_that_are_classes():
    """As in MMEngine's configs in pure Python."""
    hooks = [dict(type='luminet_mm.DistillScheduleHook')]
    by_name = Config(dict(model=distiller(), custom_hooks=hooks))
    by_class = copy.deepcopy(by_name)
    by_class.model.type = TwoStageDistiller
    by_class.custom_hooks[0].type = DistillScheduleHook
    expected = stock_config(by_name)
    assert stock_config(by_class).to_dict() == expected.to_dict()
    assert expected.custom_hooks == []


@pytest.mark.parametrize(
    'meta',
    [
        dict(cfg=5),
        dict(cfg='model = 5'),
        dict(cfg='model = dict(teacher=1)'),
        dict(cfg='model = dict(type=5, teacher=1)'),
        dict(cfg="model = dict(type='a..b', teacher=1)"),
        dict(cfg="model = dict(type='', distill=1)"),
        dict(cfg="_base_ = 'x'"),
        dict(cfg='custom_hooks = 5\nmodel = dict(teacher=1)'),
        dict(cfg='a = ' + '[' * 5000),
        dict(cfg='\0'),
        dict(dataset_meta=5, CLASSES={1: [2, {3}]}),
        dict(epoch=torch.ones(2, 2), seed='x'),
    ],
)
@pytest.mark.parametrize('peer', [None, 0])
def test_odd_metadata_is_left_out(load_tool, tmp_path, meta, peer):
    source = tmp_path / 'in.pth'
    torch.save({'w': torch.ones(1), 'peers.0.w': torch.ones(1), 'meta': meta},
               source)  # fmt: skip
    path = load_tool('publish').publish(
        str(source), str(tmp_path / 'out'), peer=peer
    )
    published = torch.load(path, weights_only=True)
    assert list(published['state_dict']) == ['w']
    assert 'cfg' not in published['meta'] or isinstance(
        published['meta']['cfg'], str
    )
