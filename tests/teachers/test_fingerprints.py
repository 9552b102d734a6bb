"""What a cache belongs to, in words that can be compared."""

import copy
import hashlib
import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_cls
import torch
from caching import train, write
from mmengine.config import ConfigDict

from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.fingerprints import (
    PROBES,
    augmentation_part,
    below,
    data_part,
    differences,
    file_sha256,
    package_versions,
    plain,
    teacher_part,
    view_digests,
)


def test_what_a_config_holds_becomes_json():
    value = ConfigDict(
        a=(1, [2.5, None]),
        b=np.arange(2),
        c=np.float32(0.5),
        d={'y', 'x'},
        e=range(2),
        f=torch.nn.Linear,
        g={3: True},
    )
    assert plain(value) == dict(
        a=[1, [2.5, None]],
        b=[0, 1],
        c=0.5,
        d=['x', 'y'],
        e=[0, 1],
        f='torch.nn.modules.linear.Linear',
        g={'3': True},
    )
    json.dumps(plain(value))


def test_no_address_of_a_process():
    assert '0x' not in plain(object())
    assert plain(partial(max, 1)) == plain(partial(max, 1))


@pytest.fixture
def entry(tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'weights')
    return dict(
        config=dict(
            model=dict(type='X', depth=8, data_preprocessor=dict(mean=[1.0]))
        ),
        checkpoint=str(tmp_path / 'a.pth'),
        weight=2.0,
        cache='somewhere',
        dtype='bf16',
    )


def test_a_teacher_is_its_model_its_weights_and_how_it_runs(entry, tmp_path):
    part = teacher_part(entry)
    assert part['model']['depth'] == 8
    digest = hashlib.sha256(b'weights').hexdigest()
    assert part['checkpoint'] == dict(sha256=digest)
    # and not where its logits lie, or how much they count
    assert part['options'] == dict(dtype='bf16')
    (tmp_path / 'b.pth').write_bytes(b'weights')
    moved = dict(entry, checkpoint=str(tmp_path / 'b.pth'), weight=1.0)
    assert teacher_part(moved) == part


def test_an_address_is_compared_by_name(entry):
    url = 'https://example.org/a.pth'
    part = teacher_part(dict(entry, checkpoint=url))
    assert part['checkpoint'] == dict(url=url)


def test_teachers_that_cannot_be_known_again(entry):
    with pytest.raises(ValueError, match='random weights'):
        teacher_part(dict(entry, checkpoint=None))
    with pytest.raises(FileNotFoundError, match='no file .*gone'):
        teacher_part(dict(entry, checkpoint='gone.pth'))
    del entry['config']['model']['data_preprocessor']
    with pytest.raises(ValueError, match='no data_preprocessor'):
        teacher_part(entry)


def test_a_file_that_changes_is_hashed_anew(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'one')
    assert file_sha256(path) == hashlib.sha256(b'one').hexdigest()
    path.write_bytes(b'other')
    assert file_sha256(path) == hashlib.sha256(b'other').hexdigest()


def test_all_pipelines_of_wrapped_data_count():
    crop, flip = [dict(type='Crop', size=8)], [dict(type='Flip')]
    data = dict(
        type='Concat',
        datasets=[
            dict(type='A', pipeline=crop),
            dict(type='Repeat', dataset=dict(type='B', pipeline=flip)),
            dict(type='C', pipeline=[]),
        ],
    )
    part = augmentation_part(data, seed=3)
    assert part == dict(seed=3, pipelines=[crop, flip])


class Data:
    """Images with a label; views that are crops of a seed, or of chance."""

    metainfo = dict(classes=('cat', 'dog'))

    def __init__(self, folder='', labels=(0, 1, 1), chance=None):
        self.folder, self.labels, self.chance = folder, labels, chance

    def __len__(self):
        return len(self.labels)

    def get_data_info(self, index):
        info = dict(gt_label=self.labels[index])
        if self.folder:
            return dict(info, img_path=f'{self.folder}/{index}.png')
        return dict(info, img=np.full((2, 2, 3), index, 'uint8'))

    def __getitems__(self, views):
        pixels = self.chance or (lambda view: view)
        return [
            dict(inputs=torch.full((3, 2, 2), float(pixels(view))))
            for view in views
        ]


def leaf(root):
    return SimpleNamespace(data_root=str(root), data_prefix={})


def test_data_may_be_moved_and_not_changed(tmp_path):
    parts = []
    for name in ('here', 'there'):
        folder = tmp_path / name
        folder.mkdir()
        for index in range(3):
            (folder / f'{index}.png').write_bytes(b'0' * (index + 1))
        parts.append(data_part(Data(folder), [leaf(folder)]))
    assert parts[0] == parts[1]
    assert parts[0]['classes'] == ['cat', 'dog']
    assert parts[0]['bytes'] == {'0.png': 1, '1.png': 2, '2.png': 3}
    (folder / '1.png').write_bytes(b'')
    changed = data_part(Data(folder), [leaf(folder)])
    assert list(differences('data', parts[0], changed)) == [
        'data.bytes.1.png: 2 in the cache, 0 in this run'
    ]


def test_other_labels_and_other_pixels_in_memory_are_seen():
    part = data_part(Data(), [])
    assert part == data_part(Data(), [])
    assert part != data_part(Data(labels=(0, 1, 0)), [])
    swapped = Data()
    swapped.get_data_info = lambda i: Data.get_data_info(swapped, 2 - i)
    assert part != data_part(swapped, [])


def test_views_are_probed_evenly_and_twice():
    data = Data(labels=(0,) * 80)
    digests = view_digests(data)
    assert list(digests) == [str(10 * i) for i in range(PROBES)]
    assert len(set(digests.values())) == PROBES
    assert view_digests(Data(labels=(0,) * 2)).keys() == {'0', '1'}
    calls = iter(range(1000))
    with pytest.raises(ValueError, match='other pixels the second time'):
        view_digests(Data(chance=lambda view: next(calls)))


def test_versions_are_those_of_what_makes_pixels():
    found = package_versions()
    assert {'mmcv', 'numpy', 'torchvision'} <= set(found)


@pytest.mark.parametrize(
    ('cached', 'now', 'lines'),
    [
        (dict(a=1), dict(a=1), []),
        (dict(a=[1, 2]), dict(a=[1, 3]), ['x.a.1: 2 in the cache, 3 in']),
        (dict(a=[1]), dict(a=[1, 2]), ['x.a: [1] in the cache, [1, 2] in']),
        (dict(a=1), dict(b=2), ['x.a: 1 in the', 'x.b: None in the cache, 2']),
        ('y' * 99, 'z', ["x: 'yyyy"]),
    ],
)
def test_what_differs_is_named(cached, now, lines):
    found = list(differences('x', cached, now))
    assert len(found) == len(lines)
    for line, start in zip(found, lines, strict=True):
        assert line.startswith(start) and line.endswith(' in this run')
        assert len(line) < 120


def bare(model):
    """A stock model's block as MMPretrain's configs have it."""
    model = copy.deepcopy(model)
    del model['data_preprocessor']
    return model


def test_a_cache_cannot_take_the_students(tmp_path):
    """It would not say of whom: another student may have others."""
    block = dict(
        config=bare(tiny_cls.classifier()), checkpoint='https://x.org/a.pth'
    )
    with pytest.raises(ValueError, match='so a cache cannot say how'):
        teacher_part(block)


def test_other_pixels_are_refused(block, whole, tmp_path, monkeypatch):
    """As another release of a transform would give them."""
    from mmpretrain.datasets.transforms import RandomCrop

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


def test_paths_are_compared_below_the_datas_folder(tmp_path):
    roots = [str(tmp_path / 'data' / 'train'), str(tmp_path / 'data')]
    assert below(f'{roots[0]}/cat/1.png', roots) == 'cat/1.png'
    assert below('/other/1.png', roots) == '/other/1.png'
