"""tools/make_digits.py: both splits, a preview, and what is wrong."""

import importlib.util
import sys
from pathlib import Path

import cv2
import pytest
from digits import SMALL, read

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch):
    path = ROOT / 'tools' / 'make_digits.py'
    spec = importlib.util.spec_from_file_location('make_digits_tool', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*args):
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, args)])
        module.main()

    return run


def test_command_makes_both_splits_and_a_preview(tmp_path, command, capsys):
    out, preview = tmp_path / 'data', tmp_path / 'new' / 'sheet.png'
    command(
        *('--out', out, '--train', 4, '--val', 3, '--image-size', 96),
        *('--seed', 3, '--preview', preview),
    )
    output = capsys.readouterr().out
    assert SMALL['train'] in output
    assert f'train: 4 images, {len(all_boxes(out, "train"))} digits' in output
    assert 'val: 3 images' in output
    sheet = cv2.imread(str(preview))
    # Seven images, twice as large, five in a row, with gaps of four.
    assert sheet.shape == (2 * 196, 5 * 196, 3)
    x, y, _, _ = all_boxes(out, 'train')[-1]
    row, column = 0, 3  # the fourth image
    green = sheet[row * 196 + 2 * y :, column * 196 + 2 * x :][
        : 2 * 96, : 2 * 96
    ]
    assert (green == (0, 255, 0)).all(-1).sum() > 20


def all_boxes(root, split):
    content = read(root / 'annotations' / f'{split}.json')
    return [item['bbox'] for item in content['annotations']]


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--train', 0], 'num_images must be from 1'),
        (['--image-size', 10], 'image_size must be from 96'),
        (['--preview', 'sheet.jpg'], 'ends in .png'),
    ],
)
def test_command_names_what_is_wrong(tmp_path, command, capsys, args, message):
    with pytest.raises(SystemExit, match='1'):
        command('--out', tmp_path / 'data', *args)
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'data').exists()
