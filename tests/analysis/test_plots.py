"""Pictures of an analysis: written, also where numbers are missing."""

import cv2
import pytest
import torch

from luminet_mm.analysis.plots import (
    draw_parameters,
    draw_reliability,
    draw_similarity,
)
from luminet_mm.analysis.statistics import PairStatistics

RUN = dict(
    name='kd',
    metric='accuracy/top1',
    accuracy=70.0,
    std=None,
    parameters=1_000_000,
    extra_parameters=0,
    seconds_per_batch=0.1,
)


@pytest.fixture
def statistics():
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    found = PairStatistics(4)
    found.update(logits, logits + 1, torch.arange(20) % 4)
    return found


def shape_of(path):
    """Height and width, and whether anything is drawn there."""
    picture = cv2.imread(str(path))
    assert picture.min() < picture.max()
    return picture.shape[:2]


def test_gaps_and_reliability(statistics, tmp_path):
    draw_similarity(statistics, list('abcd'), 3.0, tmp_path / 'a.png')
    assert shape_of(tmp_path / 'a.png') == (6 * 150, 13 * 150)
    draw_reliability(statistics.summary(), tmp_path / 'b.png')
    assert shape_of(tmp_path / 'b.png') == (540, 1080)


def test_a_gap_beyond_the_scale_is_as_dark_as_its_end(statistics, tmp_path):
    pictures = []
    for name, top in (('a', 0.5), ('b', 0.6)):
        draw_similarity(statistics, [], top, tmp_path / f'{name}.png')
        whole = cv2.imread(str(tmp_path / f'{name}.png'))
        pictures.append(whole[300:600, 200:600])  # all gaps are 1
    assert (pictures[0] == pictures[1]).all()


@pytest.mark.parametrize('lost', [[], ['accuracy'], ['parameters', 'std']])
def test_a_run_whose_numbers_are_not_known_is_left_out(lost, tmp_path):
    runs = [RUN, dict(RUN, **dict.fromkeys(lost), name='lost')]
    draw_parameters(runs, tmp_path / 'a.png')
    assert shape_of(tmp_path / 'a.png') == (540, 1920)
