"""Compressed caches: written, read, resumed, checked and refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from caching import CLASSES, IMAGES, KD, model_of, train, write
from tiny_cls import build

from luminet_mm.teachers.cache import TeacherCache
from luminet_mm.teachers.cache_files import CacheError

pytestmark = pytest.mark.usefixtures('mmpretrain_scope')
FORMS = ('int8', 'top3')
VIEWS = range(2 * IMAGES)
BYTES = dict(int8=CLASSES + 4, top3=16)


def other(block, form):
    return dict(block, cache=f'{block["cache"]}_{form}')


@pytest.mark.parametrize('form', FORMS)
def test_what_is_written_is_read(block, whole, form):
    exact = TeacherCache(block['cache']).rows(VIEWS)
    block = other(block, form)
    write(block, dtype=form)
    cache = TeacherCache(block['cache'])
    assert cache.header['dtype'] == form and cache.header['format'] == 2
    assert cache.first_rounds(9) == range(2)
    file = np.load(Path(block['cache'], 'round_000.npy'))
    assert file.shape == (IMAGES, BYTES[form]) and file.dtype == np.uint8
    rows = cache.rows(VIEWS)
    assert rows.shape == exact.shape and rows.dtype == np.float32
    np.testing.assert_array_equal(cache.rows([3, IMAGES + 3]), rows[[3, 15]])
    if form == 'int8':
        assert np.abs(rows - exact).max() <= np.ptp(exact) / 500
    else:
        largest = np.sort(exact)[:, -3:]
        gaps = np.sort(rows)[:, -3:] - largest
        assert np.ptp(gaps, axis=1).max() < 2e-3, 'but for a shift'


@pytest.mark.parametrize('form', FORMS)
def test_an_interrupted_one_is_continued(block, form):
    block = other(block, form)
    write(block, dtype=form, stop=1)
    with pytest.raises(CacheError, match='is not finished'):
        TeacherCache(block['cache'])
    assert write(block, dtype=form) == [1]
    first = Path(block['cache'], 'round_000.npy').read_bytes()
    assert write(block, dtype=form, rounds=3) == [2]
    assert Path(block['cache'], 'round_000.npy').read_bytes() == first
    assert TeacherCache(block['cache']).rounds == 3


@pytest.mark.parametrize('form', FORMS)
def test_one_other_byte_is_noticed_and_written_anew(block, form):
    block = other(block, form)
    write(block, dtype=form)
    path = Path(block['cache'], 'round_001.npy')
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CacheError, match='round_001.npy is damaged'):
        TeacherCache(block['cache']).rows([IMAGES])
    assert write(block, dtype=form) == [1]
    TeacherCache(block['cache']).rows([IMAGES])


def test_a_row_that_is_left_out_is_not_kept(block, whole, monkeypatch):
    """As after a killed worker: the bytes of such a row are not a row."""
    put = np.arange(IMAGES)
    for form in FORMS:
        monkeypatch.setattr(
            'caching.np.arange', lambda count: put[: count - 1]
        )
        monkeypatch.setattr(
            'caching.answers', lambda *_: np.ones((IMAGES - 1, CLASSES))
        )
        with pytest.raises(CacheError, match='not finite'):
            write(other(block, form), dtype=form)


def test_a_cache_has_one_form(block, whole):
    """One of floats is not continued with bytes, and goes on as it is."""
    with pytest.raises(CacheError, match="dtype: 'float32'.*'int8'"):
        write(block, dtype='int8')
    assert write(block) == []
    header = Path(block['cache'], 'cache.json')
    text = header.read_text()
    for form, message in (
        ('top10', 'top10 of 10 classes would leave none out'),
        ('int4', 'dtype is not float32, float16, int8, or topK'),
    ):
        header.write_text(json.dumps(dict(json.loads(text), dtype=form)))
        with pytest.raises(CacheError, match=message):
            TeacherCache(block['cache'])
    header.write_text(json.dumps(dict(json.loads(text), dtype='int8')))
    with pytest.raises(CacheError, match='is damaged'):
        TeacherCache(block['cache'])


def test_a_form_that_does_not_fit_is_refused_before_it_is_written(block):
    block = other(block, 'top10')
    with pytest.raises(CacheError, match='--dtype top10: top10 of 10 classes'):
        write(block, dtype='top10')
    assert not Path(block['cache']).exists()


@pytest.mark.parametrize(
    ('loss', 'why'),
    [
        (dict(type='LumiNetLoss', tau=2.0), 'it compares every class'),
        (dict(type='DISTLoss'), 'it compares every class'),
        (dict(type='DKDLoss'), 'it compares every class'),
        (dict(type='KDLoss', tau=4.0), 'tau=4 is not 1'),
        (dict(type='KDLoss', tau='learned'), 'its temperature is learned'),
    ],
)
def test_a_loss_that_needs_every_class_is_refused(block, loss, why):
    block = other(block, 'top3')
    write(block, dtype='top3')
    kind = loss['type']
    loss = dict(loss, type=f'luminet_mm.{kind}', signal='logits')
    with pytest.raises(
        ValueError,
        match=re.escape(
            f'model.distill.loss_x: {kind} needs all 10 classes ({why}), and '
            'model.teacher.cache holds the 3 most likely ones of each view. '
            'Write another cache: python tools/cache_teacher.py CONFIG '
            '--dtype int8'
        ),
    ):
        build(model_of(block, loss_x=loss))


def test_losses_that_can_use_the_largest(block):
    block = other(block, 'top3')
    write(block, dtype='top3')
    hard = dict(type='luminet_mm.HardLabelLoss', signal='logits')
    build(model_of(block, loss_kd=KD, loss_hard=hard))
    mean = [block, dict(block, cache=None)]
    config = model_of(block, loss_kd=KD)
    config.teacher = mean
    with pytest.raises(ValueError, match='logits of 2 teachers are averaged'):
        build(config)


@pytest.mark.parametrize('form', FORMS)
def test_a_run_ends_near_that_on_floats(block, whole, tmp_path, form):
    exact = train(block, tmp_path / 'float')
    block = other(block, form)
    write(block, dtype=form)
    found = train(block, tmp_path / form)
    again = train(block, tmp_path / 'again')
    moved = {k: (v.double() - exact[k]).norm() for k, v in found.items()}
    size = {k: v.double().norm() for k, v in exact.items()}
    key = 'head.fc.weight'
    assert 0 < moved[key] < (1e-2 if form == 'int8' else 0.3) * size[key]
    assert all((again[k] == v).all() for k, v in found.items())
