"""The digits data: the same everywhere, whole or absent, boxes that fit."""

import contextlib
import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner

from luminet_mm.datasets import (
    DigitsDataset,
    fingerprint,
    make_digits,
)
from luminet_mm.datasets.digits import files as digit_files
from luminet_mm.datasets.digits import scenes as digit_scenes
from luminet_mm.datasets.digits import sources as digit_sources
from luminet_mm.registry import DATASETS

ROOT = Path(__file__).parents[3]

# What VERSION 1 makes. Other values here mean other data: raise VERSION, and
# measure again whatever was measured on it.
SMALL = dict(
    train='d7e640268f5738857cf2202856dfd5379d3824d6d0d31ebf928d047d3347ef1e',
    val='7739a3c51815f6b8ed3327eacaf6b65538b1e3fbbacb1f9f95b4ebac4c432bc2',
)
DEFAULT = dict(
    train='a6f4d7dca8013ac58de38c2302cc05de63e63bb0183ce37fd165c20958a4f544',
    val='d670b9682e360ec5087a87bea6365edc047de054b898d56a8d470e228bf4d39e',
)
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]


def read(ann_file):
    return json.loads(Path(ann_file).read_bytes())


def listing(root):
    """Names in a data root, but for the lock's."""
    return sorted(path.name for path in root.iterdir() if path.name != '.lock')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Sixty images of train, thirty of val."""
    root = tmp_path_factory.mktemp('digits')
    make_digits(root, 'train', num_images=60)
    make_digits(root, 'val', num_images=30)
    return root


@pytest.fixture(scope='module', params=['train', 'val'])
def split(request):
    return request.param


@pytest.fixture(scope='module')
def content(root, split):
    return read(root / 'annotations' / f'{split}.json')


@pytest.fixture(scope='module')
def sources(split):
    return digit_sources.load_sources(split)


# The same data everywhere


def test_pixels_and_boxes_are_pinned(tmp_path, split):
    ann_file = make_digits(
        tmp_path, split, num_images=4, image_size=96, seed=3
    )
    assert fingerprint(ann_file) == SMALL[split]
    assert read(ann_file)['info']['fingerprint'] == SMALL[split]


@pytest.mark.slow
def test_default_data_is_pinned(tmp_path, split):
    assert fingerprint(make_digits(tmp_path, split)) == DEFAULT[split]


def test_two_makes_are_equal(root, tmp_path, content, split):
    count = len(content['images'])
    again = make_digits(tmp_path, split, num_images=count)
    assert fingerprint(again) == content['info']['fingerprint']
    assert read(again) == content


def test_longer_set_starts_like_a_shorter_one(root, tmp_path, content, split):
    few = read(make_digits(tmp_path, split, num_images=3))
    assert few['images'][-1]['id'] == 3
    boxes = [item['bbox'] for item in few['annotations']]
    assert boxes == [
        item['bbox'] for item in content['annotations'] if item['image_id'] < 4
    ]


def test_seed_and_split_change_the_data(tmp_path):
    made = {
        fingerprint(make_digits(tmp_path, split, num_images=2, seed=seed))
        for split in ('train', 'val')
        for seed in (0, 1)
    }
    assert len(made) == 4


def test_fingerprint_sees_one_changed_pixel(tmp_path):
    ann_file = make_digits(tmp_path, 'val', num_images=1, image_size=96)
    path = tmp_path / read(ann_file)['images'][0]['file_name']
    image = cv2.imread(str(path))
    before = fingerprint(ann_file)
    # Another encoding of the same pixels is the same data …
    cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert fingerprint(ann_file) == before
    image[5, 7, 1] ^= 1
    cv2.imwrite(str(path), image)
    assert fingerprint(ann_file) != before
    # … and a missing image is named.
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        fingerprint(ann_file)


def test_data_does_not_depend_on_numpys_distributions(monkeypatch):
    """Only PCG64's raw output is promised never to change."""
    draws = digit_scenes.Draws(1, 2, 3)
    raw = np.random.PCG64(np.random.SeedSequence([1, 2, 3])).random_raw(2000)
    expected = [5 + (int(value) >> 32) * 7 // 2**32 for value in raw]
    found = [draws.between(5, 11) for _ in range(2000)]
    assert found == expected
    assert set(found) == set(range(5, 12))


def test_other_source_pixels_are_reported(monkeypatch):
    monkeypatch.setitem(digit_sources.SOURCE_SHA256, 'val', 'another')
    with pytest.warns(UserWarning, match='cannot be compared'):
        digit_sources.load_sources('val')


# Train and val


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


# What is in an image


def test_annotations_are_sound(content):
    images = {image['id']: image for image in content['images']}
    per_image = Counter(item['image_id'] for item in content['annotations'])
    assert set(per_image) == set(images)
    assert set(per_image.values()) == set(range(2, 8))
    ids = [item['id'] for item in content['annotations']]
    assert ids == list(range(1, len(ids) + 1))
    for item in content['annotations']:
        x, y, width, height = item['bbox']
        assert x >= 0 and y >= 0
        assert x + width <= 160 and y + height <= 160
        assert min(width, height) >= digit_scenes.MIN_SIDE
        assert item['area'] == width * height
        assert item['iscrowd'] == 0
    assert [item['name'] for item in content['categories']] == list(
        '0123456789'
    )


def test_boxes_do_not_overlap_too_much(content):
    for image in content['images']:
        boxes = np.array(
            [
                item['bbox']
                for item in content['annotations']
                if item['image_id'] == image['id']
            ],
            dtype=float,
        )
        corner, end = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
        both = np.minimum(end[:, None], end) - np.maximum(
            corner[:, None], corner
        )
        both = both.clip(0).prod(-1)
        area = boxes[:, 2:].prod(-1)
        iou = both / (area[:, None] + area - both)
        assert iou[~np.eye(len(boxes), dtype=bool)].max() <= 0.3


def test_classes_are_balanced_and_sizes_vary(root):
    items = read(root / 'annotations' / 'train.json')['annotations']
    counts = Counter(item['category_id'] for item in items)
    mean = len(items) / 10
    # Four standard deviations of a binomial's count.
    slack = 4 * (mean * 0.9) ** 0.5
    assert set(counts) == set(range(10))
    assert all(abs(count - mean) < slack for count in counts.values())
    heights = [item['bbox'][3] for item in items]
    assert min(heights) < 20 and max(heights) > 55
    assert 24 < np.median(heights) < 40


@pytest.mark.parametrize('size', [96, 160, 224])
def test_boxes_fit_the_visible_ink(sources, size):
    occluded = 0
    for index in range(8):
        scene = digit_scenes.draw_scene(sources, size, (0, 9, index))
        assert len(scene.instances) == len(scene.weights)
        for instance, weight in zip(scene.instances, scene.weights):
            x, y, width, height = instance.bbox
            ink = 4 * weight > 255**2 - 4  # a quarter of the pixel or more
            inside = ink[y : y + height, x : x + width]
            assert ink.sum() == inside.sum() > 0
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()
        total = sum(weight > 0 for weight in scene.weights)
        occluded += int((total > 1).any())
    assert occluded  # else it says nothing of covered digits


def test_weights_tell_what_was_painted(sources):
    """Without ink a pixel is the photograph's; with ink mostly it is not."""
    for index in range(6):
        key = (0, 9, index)
        scene = digit_scenes.draw_scene(sources, 160, key)
        draws = digit_scenes.Draws(digit_scenes.VERSION, *key)
        names = list(sources.photographs)
        name = names[draws.between(0, len(names) - 1)]
        assert name == scene.photograph
        background = digit_scenes.draw_background(
            sources.photographs[name], 160, draws
        )
        weight = sum(scene.weights)
        assert weight.max() <= 255**2
        changed = (scene.image != background).any(-1)
        assert not changed[weight == 0].any()
        for each in scene.weights:
            assert changed[4 * each >= 255**2].mean() > 0.9


def test_digits_stay_visible(sources):
    """A covered digit keeps most of its ink; its contrast is never nil."""
    for index in range(10):
        scene = digit_scenes.draw_scene(sources, 160, (0, 9, index))
        for instance, weight in zip(scene.instances, scene.weights):
            ink = np.count_nonzero(4 * weight >= 255**2 - 4)
            box = instance.bbox[2] * instance.bbox[3]
            assert ink > box / 10


def test_ink_keeps_the_digits_orientation():
    """Ink in one corner of the cells lands in that corner of the picture."""
    for left in (0, 4):
        for top in (0, 4):
            digit = np.zeros((8, 8), dtype=np.int64)
            digit[top : top + 4, left : left + 4] = 16
            for seed in range(5):
                ink = digit_scenes.draw_ink(
                    digit, 40, digit_scenes.Draws(seed)
                )
                middle = (len(ink) - 1) / 2
                rows, columns = np.nonzero(ink > 127)
                assert (rows.mean() > middle) == (top > 0)
                assert (columns.mean() > middle) == (left > 0)


@pytest.mark.parametrize('height', [16, 40, 64])
def test_ink_has_the_height_that_was_asked_for(height):
    digit = np.zeros((8, 8), dtype=np.int64)
    digit[:, 2:6] = 16
    for seed in range(10):
        ink = digit_scenes.draw_ink(digit, height, digit_scenes.Draws(seed))
        rows = np.flatnonzero((ink > 127).any(1))
        found = rows[-1] - rows[0] + 1
        # Turning by 20 degrees and slanting by a quarter add the rest.
        assert 0.9 * height < found < 1.35 * height


@pytest.mark.parametrize('side', [50, 96, 160])
def test_resize_is_bilinear(side):
    """The integers agree with OpenCV's interpolation to one level."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (side, side, 3)).astype(np.uint8)
    found = digit_scenes._resize(image, 96 if side < 160 else 160)
    expected = cv2.resize(
        image.astype(np.float32), found.shape[:2], interpolation=1
    )
    assert abs(found - expected).max() <= 1.5


def test_resize_averages_before_it_shrinks():
    image = np.indices((300, 300)).sum(0) % 2 * 255
    image = image[..., None].repeat(3, -1).astype(np.uint8)
    assert abs(digit_scenes._resize(image, 100) - 127).max() < 30
    assert abs(digit_scenes._resize(image, 150) - 128).max() == 0


# Whole or absent


@pytest.fixture
def fork():
    if not hasattr(os, 'fork'):
        pytest.skip('needs os.fork')
    return multiprocessing.get_context('fork')


def _make_and_die(root):
    def progress(done, total):
        if done == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    make_digits(root, 'train', num_images=6, progress=progress)


def test_killed_run_leaves_nothing_that_counts(tmp_path, fork):
    process = fork.Process(target=_make_and_die, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    left = [name for name in listing(tmp_path) if name != 'annotations']
    assert len(left) == 1 and left[0].startswith('.unfinished-')
    assert len(list((tmp_path / left[0]).iterdir())) == 3
    assert not list((tmp_path / 'annotations').iterdir())

    ann_file = make_digits(tmp_path, 'train', num_images=6)
    assert fingerprint(ann_file) == read(ann_file)['info']['fingerprint']
    # What was left may belong to a machine whose lock is unseen; once it is
    # old it goes.
    assert (tmp_path / left[0]).exists()
    old = time.time() - 3600
    os.utime(tmp_path / left[0], (old, old))
    make_digits(tmp_path, 'train', num_images=1)
    assert not (tmp_path / left[0]).exists()


def test_failed_run_tidies_up(tmp_path):
    def progress(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_digits(tmp_path, 'val', num_images=2, progress=progress)
    assert listing(tmp_path) == ['annotations']
    assert not list((tmp_path / 'annotations').iterdir())


def test_killed_before_the_copy_is_mended(tmp_path):
    ann_file = make_digits(tmp_path, 'val', num_images=2)
    copy = tmp_path / 'annotations' / 'val.json'
    copy.unlink()
    again = make_digits(tmp_path, 'val', num_images=2, progress=_no_drawing)
    assert again == ann_file
    assert read(copy) == read(ann_file)


def _no_drawing(done, total):
    raise AssertionError('it was drawn again')


def _make_at_once(root, barrier, results):
    drawn = []
    barrier.wait(60)
    ann_file = make_digits(
        root,
        'val',
        num_images=8,
        progress=lambda done, total: drawn.append(done),
    )
    results.put((str(ann_file), len(drawn), fingerprint(ann_file)))


def test_of_many_processes_one_draws(tmp_path, fork):
    barrier, results = fork.Barrier(4), fork.Queue()
    processes = [
        fork.Process(target=_make_at_once, args=(tmp_path, barrier, results))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(drawn for _, drawn, _ in found) == [0, 0, 0, 8]
    assert len({path for path, _, _ in found}) == 1
    assert len({sha for _, _, sha in found}) == 1
    assert len(listing(tmp_path)) == 2


def test_without_locks_the_first_one_wins(tmp_path, monkeypatch):
    """Two nodes on a file system that ignores locks."""
    monkeypatch.setattr(
        digit_files, 'FileLock', lambda path: contextlib.nullcontext()
    )
    first = []

    def progress(done, total):
        if done == 1:
            first.append(make_digits(tmp_path, 'val', num_images=3))

    ann_file = make_digits(tmp_path, 'val', num_images=3, progress=progress)
    assert first == [ann_file]
    assert fingerprint(ann_file) == read(ann_file)['info']['fingerprint']
    assert listing(tmp_path) == ['annotations', ann_file.parent.name]


# Stale data


def test_data_that_is_there_is_not_drawn_again(root):
    before = (root / 'annotations' / 'train.json').stat().st_mtime_ns
    make_digits(root, 'train', num_images=60, progress=_no_drawing)
    after = (root / 'annotations' / 'train.json').stat().st_mtime_ns
    assert before == after


@pytest.mark.parametrize(
    'other', [dict(num_images=3), dict(image_size=96), dict(seed=1)]
)
def test_other_arguments_are_other_data(tmp_path, other):
    arguments = dict(num_images=2, image_size=128, seed=0)
    copy = tmp_path / 'annotations' / 'val.json'
    first = make_digits(tmp_path, 'val', **arguments)
    before = first.read_bytes()
    second = make_digits(tmp_path, 'val', **{**arguments, **other})
    assert second != first
    assert copy.read_bytes() == second.read_bytes()
    parameters = read(copy)['info']['parameters']
    assert {**arguments, **other} == {
        name: parameters[name] for name in arguments
    }
    # The first is still whole for who reads it, and needs no new drawing.
    assert first.read_bytes() == before
    make_digits(tmp_path, 'val', **arguments, progress=_no_drawing)
    assert copy.read_bytes() == before
    assert fingerprint(copy) == read(first)['info']['fingerprint']


def test_other_version_is_other_data(tmp_path, monkeypatch):
    first = make_digits(tmp_path, 'val', num_images=1)
    monkeypatch.setattr(digit_files, 'VERSION', digit_scenes.VERSION + 1)
    assert make_digits(tmp_path, 'val', num_images=1) != first


def test_missing_image_is_drawn_again(tmp_path):
    ann_file = make_digits(tmp_path, 'val', num_images=3)
    (ann_file.parent / '000001.png').unlink()
    make_digits(tmp_path, 'val', num_images=3)
    assert fingerprint(ann_file) == read(ann_file)['info']['fingerprint']


def test_finished_data_may_be_read_only(root):
    """Nothing is written, not even a lock, where nothing is missing."""
    before = {path: path.stat().st_mtime_ns for path in (root, root / '.lock')}
    make_digits(root, 'val', num_images=30)
    assert before == {path: path.stat().st_mtime_ns for path in before}


# Errors


@pytest.mark.parametrize('text', ['{"info": {}}', '[]', 'no JSON'])
def test_foreign_annotations_are_not_written_over(tmp_path, text):
    copy = tmp_path / 'annotations' / 'train.json'
    copy.parent.mkdir()
    copy.write_text(text)
    with pytest.raises(FileExistsError, match='another data_root'):
        make_digits(tmp_path, 'train', num_images=1)
    assert copy.read_text() == text


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (dict(split='test'), ValueError, "'train' or 'val'"),
        (dict(num_images=0), ValueError, 'num_images must be from 1'),
        (dict(image_size=64), ValueError, 'image_size must be from 96'),
        (dict(image_size=160.0), TypeError, 'image_size must be a whole'),
        (dict(seed=-1), ValueError, 'seed must be from 0'),
        (dict(seed=True), TypeError, 'seed must be a whole'),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        make_digits(tmp_path, **{'split': 'val', **arguments})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('module', 'package'),
    [('sklearn.datasets', 'scikit-learn'), ('skimage.data', 'scikit-image')],
)
def test_missing_package_is_named(tmp_path, monkeypatch, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f'pip install {package}'):
        make_digits(tmp_path, 'train', num_images=1)
    assert listing(tmp_path) == ['annotations']


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


# As a data set


def build(root, split, num_images, **kwargs):
    return DATASETS.build(
        dict(
            type='luminet_mm.DigitsDataset',
            split=split,
            data_root=str(root),
            num_images=num_images,
            pipeline=PIPELINE,
            **kwargs,
        )
    )


def test_dataset_goes_through_mmdets_pipeline(root):
    dataset = build(root, 'train', 60)
    content = read(root / 'annotations' / 'train.json')
    assert isinstance(dataset, DigitsDataset)
    assert len(dataset) == 60
    assert dataset.metainfo['classes'] == tuple('0123456789')
    assert len(set(dataset.metainfo['palette'])) == 10
    for index in (0, 59):
        item = dataset[index]
        record = content['images'][index]
        instances = item['data_samples'].gt_instances
        expected = [
            annotation
            for annotation in content['annotations']
            if annotation['image_id'] == record['id']
        ]
        assert item['inputs'].shape == (3, 160, 160)
        image = cv2.imread(str(root / record['file_name']))
        assert torch.equal(
            item['inputs'], torch.from_numpy(image).permute(2, 0, 1)
        )
        boxes = torch.tensor([each['bbox'] for each in expected]).float()
        boxes[:, 2:] += boxes[:, :2]
        assert torch.equal(instances.bboxes.tensor, boxes)
        assert instances.labels.tolist() == [
            each['category_id'] for each in expected
        ]


def test_dataset_takes_what_coco_datasets_take(root):
    dataset = build(root, 'val', 30, indices=5, test_mode=True)
    assert len(dataset) == 5


def test_dataset_reads_its_own_data_after_another_was_made(tmp_path):
    """The folder's own file, not the copy, which may have changed."""
    dataset = build(tmp_path, 'val', 2, lazy_init=True)
    make_digits(tmp_path, 'val', num_images=3)
    dataset.full_init()
    assert len(dataset) == 2


@pytest.mark.parametrize('key', ['ann_file', 'data_prefix'])
def test_dataset_refuses_paths(tmp_path, key):
    with pytest.raises(TypeError, match=f'drop {key}='):
        build(tmp_path, 'val', 1, **{key: 'x'})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('metric', ['CocoMetric', 'FasterCocoMetric'])
def test_perfect_predictions_score_one(root, metric):
    dataset = build(root, 'val', 30)
    evaluator = Evaluator(
        dict(type=metric, ann_file=str(root / 'annotations' / 'val.json'))
    )
    evaluator.dataset_meta = dataset.metainfo
    for item in dataset:
        evaluator.process([perfect(item['data_samples'])])
    found = evaluator.evaluate(len(dataset))
    assert found['coco/bbox_mAP'] == 1
    assert found['coco/bbox_mAP_75'] == 1


def test_shifted_predictions_score_less(root):
    dataset = build(root, 'val', 30)
    evaluator = Evaluator(
        dict(
            type='FasterCocoMetric',
            ann_file=str(root / 'annotations' / 'val.json'),
        )
    )
    evaluator.dataset_meta = dataset.metainfo
    for item in dataset:
        sample = perfect(item['data_samples'])
        sample.pred_instances.bboxes += 3
        evaluator.process([sample])
    found = evaluator.evaluate(len(dataset))
    assert 0.1 < found['coco/bbox_mAP'] < 0.8


def perfect(sample):
    """A data sample whose predictions are its ground truth."""
    sample.pred_instances = sample.gt_instances.clone()
    sample.pred_instances.bboxes = sample.gt_instances.bboxes.tensor.clone()
    sample.pred_instances.scores = torch.ones(len(sample.gt_instances))
    return sample


@MODELS.register_module(force=True)
class Clairvoyant(BaseModel):
    """Predicts the ground truth."""

    def forward(self, inputs, data_samples, mode='predict'):
        return [perfect(sample) for sample in data_samples]


def test_runner_makes_the_data_before_the_metric_reads_it(
    tmp_path, monkeypatch
):
    """A config needs no more than a type and the evaluator's fixed path."""
    monkeypatch.chdir(tmp_path)
    config = Config(
        dict(
            model=dict(type='mmengine.Clairvoyant'),
            work_dir=str(tmp_path / 'work'),
            default_scope='mmdet',
            experiment_name='digits',
            log_level='WARNING',
            val_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(
                    type='luminet_mm.DigitsDataset',
                    split='val',
                    num_images=4,
                    test_mode=True,
                    pipeline=PIPELINE,
                ),
            ),
            val_cfg=dict(),
            val_evaluator=dict(
                type='FasterCocoMetric',
                ann_file='data/digits/annotations/val.json',
            ),
        )
    )
    found = Runner.from_cfg(config).val()
    assert found['coco/bbox_mAP'] == 1


# The command


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
