"""The real pixels: two splits that share nothing, and what is missing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from digits import read

from luminet_mm.datasets.digits import sources as digit_sources

ROOT = Path(__file__).parents[3]


def test_other_source_pixels_are_reported(monkeypatch):
    monkeypatch.setitem(digit_sources.SOURCE_SHA256, 'val', 'another')
    with pytest.warns(UserWarning, match='cannot be compared'):
        digit_sources.load_sources('val')


def test_splits_share_neither_digit_nor_photograph(root):
    train, val = (
        read(root / 'annotations' / f'{split}.json')
        for split in ('train', 'val')
    )
    for part, records in (('digit', 'annotations'), ('photograph', 'images')):
        used = [
            {record[part] for record in content[records]}
            for content in (train, val)
        ]
        assert used[0] and used[1]
        assert not used[0] & used[1]
    assert not set(train['info']['photographs']) & set(
        val['info']['photographs']
    )
    assert train['info']['digits'] == [0, 1415]
    assert val['info']['digits'] == [1415, 1797]


def test_no_source_is_in_both_splits_under_another_name():
    train, val = map(digit_sources.load_sources, ('train', 'val'))
    for photograph in train.photographs.values():
        for other in val.photographs.values():
            assert not np.array_equal(photograph, other)
    seen = {digit.tobytes() for digit in train.digits}
    assert not any(digit.tobytes() in seen for digit in val.digits)
    assert len(train.digits) + len(val.digits) == 1797


def test_splits_meet_where_a_writer_begins():
    """Every writer filled in one form: 0 to 9, three times, then the rest."""
    sklearn = pytest.importorskip('sklearn.datasets')
    target = sklearn.load_digits().target
    edge = digit_sources.DIGITS['val'].start
    assert target[edge : edge + 30].tolist() == [*range(10)] * 3


def test_records_name_the_digit_that_was_drawn(content):
    sklearn = pytest.importorskip('sklearn.datasets')
    target = sklearn.load_digits().target
    for annotation in content['annotations']:
        assert target[annotation['digit']] == annotation['category_id']


def test_missing_or_broken_photograph_is_named(tmp_path, monkeypatch):
    class Package:
        __file__ = str(tmp_path / '__init__.py')

    monkeypatch.setitem(sys.modules, 'skimage.data', Package)
    with pytest.raises(FileNotFoundError, match=r'chelsea\.png.*--force'):
        digit_sources.load_sources('val')
    (tmp_path / 'chelsea.png').write_bytes(b'no image')
    with pytest.raises(OSError, match=r'chelsea\.png cannot be read'):
        digit_sources.load_sources('val')


def test_import_leaves_the_sources_alone():
    """They are imported when data is made: most configs never need them."""
    # mmdet itself may import scikit-image, so the modules are imported
    # without the packages that they are in.
    code = (
        'import sys, types\n'
        "for name in ('luminet_mm', 'luminet_mm.datasets'):\n"
        '    sys.modules[name] = types.ModuleType(name)\n'
        '    sys.modules[name].__path__ = [name.replace(".", "/")]\n'
        'import luminet_mm.datasets.digits.files\n'
        "assert 'luminet_mm.datasets.digits.sources' in sys.modules\n"
        "assert not {'sklearn', 'skimage'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
