"""The teacher cache: the live teacher's run, and every kind of staleness."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from tiny_cls import build, classifier, distiller, prepared, runner

import luminet_mm.teachers.fingerprints
from luminet_mm.preflight import ConfigError, check_config, leaf_datasets
from luminet_mm.stock import stock_config
from luminet_mm.teachers.cache import TeacherCache
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cache_header import make_header
from luminet_mm.teachers.cache_writer import CacheWriter
from luminet_mm.teachers.frozen import FrozenTeacher

IMAGES, ROUNDS, CLASSES = 12, 2, 10
DATA = dict(
    type='luminet_mm.ReplayDataset',
    rounds=ROUNDS,
    dataset=dict(
        type='luminet_mm.HandwrittenDigits',
        num_images=IMAGES,
        pipeline=[
            dict(type='RandomCrop', crop_size=8, padding=1),
            dict(type='PackInputs'),
        ],
    ),
)
KD = dict(type='luminet_mm.KDLoss', signal='logits')
HOOKS = [dict(type='luminet_mm.TeacherCheckHook', evaluate=False)]


def small(width=4):
    model = classifier(num_classes=CLASSES)
    model['backbone'] = dict(
        type='luminet_mm.CIFARResNet', depth=8, stage_channels=[width] * 4
    )
    model['head']['in_channels'] = width
    return model


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A teacher's checkpoint and config, and what its cache says."""
    folder = tmp_path_factory.mktemp('teacher')
    config = dict(model=small(width=8))
    # before the scope of the tests, and after whatever test ran last
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = build(config['model'], seed=5)
    torch.save(model.state_dict(), folder / 'a.pth')
    return folder, config


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def block(files, tmp_path):
    folder, config = files
    return dict(
        config=copy.deepcopy(config),
        checkpoint=str(folder / 'a.pth'),
        cache=str(tmp_path / 'cache'),
    )


def dataset(**kwargs):
    return DATASETS.build({**copy.deepcopy(DATA), **kwargs})


def write(block, dtype='float32', rounds=ROUNDS, data=None, stop=None):
    """Write a cache with the teacher alone; perhaps only its first rounds."""
    data = data or dataset(rounds=rounds)
    live = {key: value for key, value in block.items() if key != 'cache'}
    header = make_header(live, data, leaf_datasets(data), CLASSES, dtype)
    with CacheWriter(block['cache'], header) as writer:
        missing = writer.missing()
        writer.begin()
        for number in missing[:stop]:
            writer.open(number)[:] = answers(block, data, number)
            writer.close(number)
        if stop is None:
            writer.finish()
    return missing


def answers(block, data, number):
    """What the teacher says about the views of a round."""
    model = build(small(width=8), seed=0).eval()
    model.load_state_dict(torch.load(block['checkpoint']))
    first = number * IMAGES
    items = data.__getitems__(range(first, first + IMAGES))
    batch = {key: [item[key] for item in items] for key in items[0]}
    with torch.no_grad():
        inputs = model.data_preprocessor(batch)['inputs']
        return model.head(model.extract_feat(inputs)).numpy()


def model_of(block, **distill):
    return Config(
        dict(
            model=distiller(small(), [block], **(distill or dict(loss_kd=KD)))
        )
    ).model


def train(block, work_dir, data=DATA, **kwargs):
    run = runner(
        model_of(block),
        work_dir,
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            dataset=copy.deepcopy(data),
            sampler=dict(type='luminet_mm.ReplaySampler'),
        ),
        **{**dict(max_epochs=3, custom_hooks=HOOKS), **kwargs},
    )
    run.train()
    return run.model.state_dict()


def deviation(one, other):
    assert one.keys() == other.keys()
    return max(
        (one[key].double() - other[key].double()).abs().max() for key in one
    )


def test_a_run_is_that_with_the_teacher_and_builds_none(
    block, tmp_path, monkeypatch
):
    write(block)
    live = {key: value for key, value in block.items() if key != 'cache'}
    expected = train(live, tmp_path / 'live')

    def refuse(*args, **kwargs):
        raise AssertionError('a teacher was built')

    monkeypatch.setattr(FrozenTeacher, '__init__', refuse)
    assert deviation(train(block, tmp_path / 'a'), expected) < 1e-6
    train(block, tmp_path / 'b', max_epochs=1)
    resumed = train(
        block,
        tmp_path / 'b',
        resume=True,
        experiment_name='resumed',
    )
    assert deviation(resumed, expected) < 1e-6


def test_rows_of_any_views(block):
    write(block)
    cache = TeacherCache(block['cache'])
    files = [np.load(f'{block["cache"]}/round_00{i}.npy') for i in (0, 1)]
    assert files[0].shape == (IMAGES, CLASSES)
    assert not np.array_equal(*files), 'views differ'
    rows = cache.rows([3, IMAGES + 3, 0])
    np.testing.assert_array_equal(
        rows, [files[0][3], files[1][3], files[0][0]]
    )
    copied = pickle.loads(pickle.dumps(cache))
    assert len(pickle.dumps(cache)) < 20_000
    np.testing.assert_array_equal(copied.rows([5]), files[0][[5]])


def test_float16_keeps_three_digits(block):
    write(block)
    exact = TeacherCache(block['cache']).rows(range(2 * IMAGES))
    block['cache'] += '16'
    write(block, dtype='float16')
    rows = TeacherCache(block['cache']).rows(range(2 * IMAGES))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, exact, rtol=1e-3, atol=1e-6)
    assert not np.array_equal(rows, exact)


def test_an_interrupted_one_is_not_whole_and_is_continued(block):
    assert write(block, rounds=3, stop=1) == [0, 1, 2]
    with pytest.raises(CacheError, match='is not finished; run `python'):
        TeacherCache(block['cache'])
    # half a round has another name
    for name in ('round_001.part', '.round_001.npy.123.part'):
        Path(block['cache'], name).write_bytes(b'half')
    first = Path(block['cache'], 'round_000.npy').stat().st_mtime_ns
    assert write(block, rounds=3) == [1, 2]
    assert TeacherCache(block['cache']).rounds == 3
    assert Path(block['cache'], 'round_000.npy').stat().st_mtime_ns == first
    assert not list(Path(block['cache']).glob('*.part')), 'hidden ones too'


def test_rounds_are_added(block):
    def check():
        data = dataset()
        build(model_of(block)).teacher.check_data(data, leaf_datasets(data))

    write(block, rounds=1)
    with pytest.raises(CacheError, match='rounds: 1 in the cache, 2 in this'):
        check()
    assert write(block) == [1]
    check()
    assert write(block, rounds=1) == [], 'a student may see fewer'
    assert TeacherCache(block['cache']).rounds == 2


def test_rounds_without_a_header_belong_to_nobody(block):
    write(block)
    Path(block['cache'], 'cache.json').unlink()
    with pytest.raises(CacheError, match='neither cache.json nor unfinished'):
        write(block)


def test_a_writer_that_died_at_the_very_end(block):
    """All rounds are there, and nobody said so."""
    write(block, stop=ROUNDS)
    with pytest.raises(CacheError, match='is not finished'):
        TeacherCache(block['cache'])
    data = dataset(rounds=ROUNDS)
    live = {key: value for key, value in block.items() if key != 'cache'}
    header = make_header(live, data, leaf_datasets(data), CLASSES, 'float32')
    with CacheWriter(block['cache'], header) as writer:
        assert writer.missing() == [] and not writer.finished
        writer.finish()
        assert writer.finished
    assert TeacherCache(block['cache']).rounds == ROUNDS


def test_damaged_ones_are_refused(block):
    with pytest.raises(CacheError, match='no cache in'):
        TeacherCache(block['cache'])
    write(block)
    path = Path(block['cache'], 'round_001.npy')
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CacheError, match='round_001.npy is damaged'):
        TeacherCache(block['cache'])
    path = Path(block['cache'], 'cache.json')
    header = json.loads(path.read_text())
    path.write_text(json.dumps(dict(header, format=99)))
    with pytest.raises(CacheError, match='has format 99'):
        TeacherCache(block['cache'])


def test_logits_that_are_not_finite_are_not_kept(block):
    data = dataset()
    header = make_header(block, data, leaf_datasets(data), CLASSES, 'float16')
    with CacheWriter(block['cache'], header) as writer:
        writer.begin()
        with np.errstate(over='ignore'):
            writer.open(0)[:] = 1e6
        with pytest.raises(CacheError, match='--dtype float32'):
            writer.close(0)
    assert not list(Path(block['cache']).glob('*round*'))


def other_weights(block, tmp_path):
    state = torch.load(block['checkpoint'])
    block['checkpoint'] = str(tmp_path / 'b.pth')
    torch.save(
        {**state, 'head.fc.bias': torch.ones(CLASSES)}, tmp_path / 'b.pth'
    )


def other_model(block, tmp_path):
    block['config']['model']['backbone']['depth'] = 14


def other_precision(block, tmp_path):
    block['dtype'] = 'bf16'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (other_weights, 'teacher.checkpoint.sha256: .* in the cache'),
        (other_model, r'teacher.model.backbone.depth: 8 in the cache, 14 in'),
        (other_precision, "teacher.options.dtype: None in the cache, 'bf16'"),
    ],
)
def test_another_teacher_is_refused(block, tmp_path, change, message):
    write(block)
    change(block, tmp_path)
    with pytest.raises(CacheError, match=f'is stale. {message}'):
        build(model_of(block))


def pipeline(**kwargs):
    inner = copy.deepcopy(DATA['dataset'])
    inner['pipeline'][0].update(kwargs)
    return dict(DATA, dataset=inner)


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (dict(DATA, seed=1), 'augmentation.seed: 0 in the cache, 1 in this'),
        (
            pipeline(padding=2),
            'augmentation.pipelines.0.0.padding: 1 in the cache, 2 in this',
        ),
        (
            dict(DATA, dataset=dict(DATA['dataset'], split='val')),
            'data.paths_and_labels: ',
        ),
        (
            dict(
                DATA,
                dataset=dict(
                    DATA['dataset'], metainfo=dict(classes=tuple('qwertyuiop'))
                ),
            ),
            "data.classes.0: '0' in the cache, 'q' in this",
        ),
        (dict(DATA['dataset']), 'Set train_dataloader.dataset=dict'),
    ],
)
def test_other_data_are_refused(block, data, message):
    write(block)
    own = DATASETS.build(copy.deepcopy(data))
    teacher = build(model_of(block)).teacher
    with pytest.raises(CacheError, match=message):
        teacher.check_data(own, leaf_datasets(own))
    assert not teacher.checked


def test_the_hook_refuses_before_the_first_step(block, tmp_path):
    write(block)
    with pytest.raises(CacheError, match='augmentation.seed: 0 in'):
        train(block, tmp_path / 'run', dict(DATA, seed=1))
    assert not list(tmp_path.glob('run/*.pth'))


@pytest.mark.parametrize('at_once', [4e9, 0])
def test_damaged_rounds_are_refused_before_they_teach(
    block, tmp_path, monkeypatch, at_once
):
    """Before the first step; of a large cache when a round is first used."""
    write(block)
    path = Path(block['cache'], 'round_001.npy')
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    monkeypatch.setattr('luminet_mm.teachers.cache.AT_ONCE', at_once)
    with pytest.raises(CacheError, match='round_001.npy is damaged: its byt'):
        train(block, tmp_path / 'run')
    saved = [path.name for path in tmp_path.glob('run/*.pth')]
    assert saved == ([] if at_once else ['epoch_1.pth'])


def test_other_pixels_are_refused(block, tmp_path, monkeypatch):
    """As another release of a transform would give them."""
    from mmpretrain.datasets.transforms import RandomCrop

    write(block)
    crop = RandomCrop.transform

    def shifted(self, results):
        results = crop(self, results)
        results['img'] = np.roll(results['img'], 1, axis=0)
        return results

    monkeypatch.setattr(RandomCrop, 'transform', shifted)
    with pytest.raises(CacheError, match='augmentation: view 0 has other'):
        train(block, tmp_path / 'a')
    draws = iter(range(10**6))
    monkeypatch.setattr(
        RandomCrop,
        'transform',
        lambda self, results: {
            **results,
            'img': np.full((8, 8, 3), next(draws) % 251, np.uint8),
        },
    )
    with pytest.raises(ValueError, match='random numbers of its own'):
        write(dict(block, cache=str(tmp_path / 'other')))


def test_other_versions_are_a_warning(block, tmp_path, monkeypatch):
    write(block)
    logged = []
    monkeypatch.setattr(
        'luminet_mm.teachers.cached.print_log',
        lambda text, *args: logged.append(text),
    )
    train(block, tmp_path / 'a', max_epochs=1)
    assert logged == []
    monkeypatch.setattr(
        'luminet_mm.teachers.cache.package_versions', lambda: dict(mmcv='9')
    )
    train(block, tmp_path / 'b', max_epochs=1)
    assert any(
        "mmcv: '" in text and "'9' in this run" in text for text in logged
    )


def test_forgetting_the_hook_or_the_views_is_refused(block, tmp_path):
    write(block)
    with pytest.raises(CacheError, match='nobody compared it.*TeacherCheck'):
        train(block, tmp_path / 'a', custom_hooks=[])
    model = build(model_of(block))
    model.teacher.checked = True
    data = prepared(model)
    with pytest.raises(CacheError, match='does not say which views'):
        model.loss(data['inputs'], data['data_samples'])


def test_what_a_cache_cannot_serve_is_refused(block):
    write(block)
    fitnet = dict(type='luminet_mm.FitNetLoss', signal='backbone.layer3')
    with pytest.raises(ValueError, match='loss_fit: FitNetLoss is no loss on'):
        build(model_of(block, loss_fit=fitnet))
    feats = dict(KD, signal='feats')
    with pytest.raises(ValueError, match="loss_kd: it reads 'feats' of"):
        build(model_of(block, loss_kd=feats))
    mixed = model_of(block)
    mixed.train_cfg = dict(augments=[dict(type='Mixup', alpha=0.8)])
    with pytest.raises(CacheError, match='train_cfg.augments mixes images'):
        build(mixed)
    views = model_of(block)
    views.data_preprocessor.type = 'luminet_mm.MultiViewClsDataPreprocessor'
    with pytest.raises(CacheError, match='several views of each image'):
        build(views)
    fewer = model_of(block)
    fewer.head.num_classes = 5
    with pytest.raises(ValueError, match='5 classes and the teacher 10'):
        build(fewer)


def test_a_member_of_an_ensemble_may_be_cached(block):
    write(block)
    live = {key: value for key, value in block.items() if key != 'cache'}
    data = dataset()
    items = data.__getitems__([1, 4, IMAGES])
    batch = {key: [item[key] for item in items] for key in items[0]}
    losses = []
    for teachers in ([live, live], [dict(block, weight=3), live]):
        model = build(model_of(teachers[0]) | dict(teacher=teachers))
        model.teachers[0].checked = True
        done = model.data_preprocessor(batch, True)
        losses.append(model.loss(done['inputs'], done['data_samples']))
    torch.testing.assert_close(losses[0]['loss_kd'], losses[1]['loss_kd'])


@pytest.fixture
def config(block):
    return Config(
        dict(
            default_scope='mmpretrain',
            model=model_of(block).to_dict(),
            train_dataloader=dict(
                dataset=copy.deepcopy(DATA),
                sampler=dict(type='luminet_mm.ReplaySampler', shuffle=True),
            ),
            custom_hooks=copy.deepcopy(HOOKS),
        )
    )


def test_preflight_finds_it_all_at_once(block, config):
    def problems():
        with pytest.raises(ConfigError) as error:
            check_config(config)
        return str(error.value)

    assert 'model.teacher.cache: no cache in' in problems()
    write(block)
    check_config(config)
    config.custom_hooks = []
    config.model.train_cfg = dict(augments=[dict(type='Mixup')])
    config.train_dataloader.sampler.type = 'DefaultSampler'
    config.train_dataloader.dataset.seed = 4
    text = problems()
    for part in (
        'TeacherCheckHook',
        'train_cfg.augments',
        "sampler=dict(type='luminet_mm.ReplaySampler')",
        'augmentation.seed: 0 in the cache, 4 in this run',
    ):
        assert part in text
    config.model.teacher[0].checkpoint = 'gone.pth'
    assert 'checkpoint: no file gone.pth' in problems()


def test_the_stock_config_knows_nothing_of_it(config):
    stock = stock_config(config)
    assert stock.train_dataloader.dataset == DATA['dataset']
    assert stock.train_dataloader.sampler == dict(
        type='DefaultSampler', shuffle=True
    )
    assert 'luminet_mm.Replay' not in stock.pretty_text


def test_detectors_are_refused():
    model = tiny.distiller()
    model.teacher.cache = 'somewhere'
    with pytest.raises(ValueError, match="it reads 'roi.cls_score' of the"):
        tiny.build(model)


def test_paths_are_compared_below_the_datas_folder(tmp_path):
    roots = [str(tmp_path / 'data' / 'train'), str(tmp_path / 'data')]
    below = luminet_mm.teachers.fingerprints._below
    assert below(f'{roots[0]}/cat/1.png', roots) == 'cat/1.png'
    assert below('/other/1.png', roots) == '/other/1.png'
