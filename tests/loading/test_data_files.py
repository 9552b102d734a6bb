"""Pickles and YAML of data: read as before, and nothing in them runs."""

import os
import pickle

import mmengine
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from luminet_mm.files.errors import DataFileError
from luminet_mm.loading.strict import strict_loading


@pytest.fixture
def strict():
    with strict_loading():
        yield


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_plain_content_comes_back(strict, tmp_path, protocol):
    boxes = InstanceData(metainfo=dict(img_id=3))
    boxes.bboxes, boxes.scores = torch.rand(2, 4), torch.rand(2)
    content = dict(
        a=[1, 2.5, 'text', None, True, b'xyz', (1, 2), {3}],
        array=np.arange(6, dtype=np.float32).reshape(2, 3),
        scalar=np.float64(0.1),
        boxes=boxes,
    )
    path = tmp_path / 'a.pkl'
    path.write_bytes(pickle.dumps(content, protocol))
    loaded = mmengine.load(path)
    assert loaded['a'] == content['a']
    assert type(loaded['array']) is np.ndarray
    assert (loaded['array'] == content['array']).all()
    assert loaded['scalar'] == 0.1
    assert type(loaded['boxes']) is InstanceData
    assert loaded['boxes'].img_id == 3
    assert torch.equal(loaded['boxes'].bboxes, boxes.bboxes)
    assert torch.equal(loaded['boxes'][0].scores, boxes.scores[:1])


class Evil:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def hidden(marker):
    """A tensor's bytes that are a pickle which calls a function."""
    import io

    buffer = io.BytesIO()
    torch.save(Evil(os.mkdir, marker), buffer)
    return Evil(torch.storage._load_from_bytes, buffer.getvalue())


@pytest.mark.parametrize('protocol', [2, 4])
def test_code_in_a_pickle_is_not_run(strict, tmp_path, protocol):
    marker = str(tmp_path / 'marker')
    path = tmp_path / 'a.pkl'
    for evil in (
        Evil(os.mkdir, marker),
        Evil(eval, f'__import__("os").mkdir({marker!r})'),
        Evil(getattr, 'a', 'upper'),
        hidden(marker),
    ):
        path.write_bytes(pickle.dumps([1, evil], protocol))
        with pytest.raises(DataFileError, match='Nothing in it was run'):
            mmengine.load(path)
    assert not os.path.exists(marker)


@pytest.mark.parametrize('content', [b'', b'\x80', b'<html>', b'(lp0\n'])
def test_broken_pickles_raise_the_same(strict, tmp_path, content):
    path = tmp_path / 'a.pkl'
    path.write_bytes(content)
    with pytest.raises(DataFileError):
        mmengine.load(path)


def test_code_in_yaml_is_not_run(strict, tmp_path):
    path = tmp_path / 'a.yml'
    path.write_text('a: [1, x]\nb: {c: 2.5}\n')
    assert mmengine.load(path) == dict(a=[1, 'x'], b=dict(c=2.5))
    marker = tmp_path / 'marker'
    path.write_text(f'!!python/object/apply:os.mkdir [{marker}]\n')
    with pytest.raises(DataFileError, match='Nothing in it was run'):
        mmengine.load(path)
    assert not marker.exists()


def test_trust_and_the_end_of_strictness(tmp_path):
    path = tmp_path / 'a.pkl'
    for number, context in enumerate(
        [strict_loading(trust=True), strict_loading()]
    ):
        marker = tmp_path / str(number)
        path.write_bytes(pickle.dumps(Evil(os.mkdir, str(marker))))
        with context:
            if not number:
                mmengine.load(path)
        if number:
            mmengine.load(path)  # MMEngine's own again
        assert marker.exists()


def test_a_run_refuses_hostile_proposals(strict, tmp_path):
    from mmdet.datasets import CocoDataset

    marker = tmp_path / 'marker'
    (tmp_path / 'a.json').write_text(
        '{"images": [], "annotations": [], "categories": []}'
    )
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(Evil(os.mkdir, str(marker))))
    with pytest.raises(DataFileError, match='proposal_file'):
        CocoDataset(
            data_root=str(tmp_path), ann_file='a.json', proposal_file='a.pkl'
        )
    assert not marker.exists()
