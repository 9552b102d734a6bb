"""A photo that cannot be read is named, also by a worker."""

import cv2
import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from torch.utils.data import ConcatDataset, DataLoader

import luminet_mm  # noqa: F401
from luminet_mm.files.errors import SampleError
from luminet_mm.launch.console import is_deliberate, message_of
from luminet_mm.launch.samples import name_samples

LOAD = dict(type='mmcv.LoadImageFromFile')


class Photos(BaseDataset):
    def load_data_list(self):
        return [dict(img_path=path) for path in self.ann_file.split('|')]


def boom(data):
    raise KeyError('scale')


@pytest.fixture
def paths(tmp_path):
    whole, half, text = (
        tmp_path / f'{name}.png' for name in ('whole', 'half', 'text')
    )
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    cv2.imwrite(str(whole), pixels)
    half.write_bytes(whole.read_bytes()[:40])
    text.write_text('<html>404</html>')
    return [str(path) for path in (whole, half, text, tmp_path / 'gone.png')]


def loader(paths, pipeline=(LOAD,), **kwargs):
    data = Photos('|'.join(paths), pipeline=pipeline, serialize_data=False)
    return name_samples(
        DataLoader(ConcatDataset([data]), collate_fn=list, **kwargs)
    )


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('which', [1, 2, 3])
def test_the_photo_is_named(paths, which, workers):
    with pytest.raises(SampleError) as error:
        list(loader([paths[0], paths[which]], num_workers=workers))
    assert is_deliberate(error.value)
    message = message_of(error.value, known=True)
    assert message.startswith(f'{paths[which]}: LoadImageFromFile ')
    assert 'Traceback' not in message and '\n' not in message


def test_any_step_is_named_and_whole_photos_pass(paths):
    first = next(iter(loader(paths[:1])))
    assert first[0]['img'].shape == (16, 16, 3)
    with pytest.raises(SampleError, match="whole.png: .* KeyError: 'scale'"):
        list(loader(paths[:1], [LOAD, boom]))
