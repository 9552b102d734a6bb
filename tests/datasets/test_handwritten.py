"""HandwrittenDigits: scikit-learn's images, split by writer."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from luminet_mm.datasets import HandwrittenDigits


def test_images_are_scikit_learns():
    bunch = load_digits()
    train = HandwrittenDigits('train', pipeline=[])
    val = HandwrittenDigits('val', pipeline=[])
    assert (len(train), len(val)) == (1415, 382)
    for dataset, index, wanted in ((train, 7, 7), (val, 5, 1420)):
        item = dataset.get_data_info(index)
        assert item['sample_idx'] in (index, wanted)
        assert item['img'].shape == (8, 8, 3)
        assert item['img'].dtype == np.uint8
        assert np.array_equal(item['img'][..., 0], bunch.images[wanted] * 15)
        assert item['gt_label'] == bunch.target[wanted]
    assert train.metainfo['classes'][9] == '9'


def test_fewer_images_are_the_first():
    some = HandwrittenDigits('train', num_images=20, pipeline=[])
    assert len(some) == 20
    labels = [some.get_data_info(i)['gt_label'] for i in range(20)]
    assert labels == load_digits().target[:20].tolist()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(split='test'), "split is 'test'; set one of 'train', 'val'"),
        (dict(split='val', num_images=383), 'num_images is 383; set 1 to 382'),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        HandwrittenDigits(pipeline=[], **arguments)
