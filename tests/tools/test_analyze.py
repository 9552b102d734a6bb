"""tools/analyze.py: whole runs on tiny pairs, and clear refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from saved import save_run
from tiny import build, detector
from torchvision.ops import box_iou

from luminet_mm.analysis import LogitPair, PairStatistics
from luminet_mm.stock import stock_config
from luminet_mm.teachers.frozen import FrozenTeacher

ROOT = Path(__file__).parents[2]
PICTURES = ('similarity.png', 'reliability.png')


def classifier(channels=4, mean=(120.0, 110, 100), classes=3):
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type='ResNet',
            depth=18,
            stem_channels=channels,
            base_channels=channels,
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=classes,
            in_channels=8 * channels,
            loss=dict(type='CrossEntropyLoss'),
        ),
        data_preprocessor=dict(
            type='ClsDataPreprocessor', mean=list(mean), std=[60.0, 60, 60]
        ),
    )


def save(model, path, seed):
    """Random weights, as a checkpoint; batch norm has seen an image."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(seed)
        built = MODELS.build(Config(dict(model=model)).model)
    for module in built.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight)
    torch.save(dict(state_dict=built.state_dict(), meta={}), path)
    return path


@pytest.fixture
def folders(tmp_path):
    """Seven PNG files in the folders of three classes."""
    draw = np.random.default_rng(0)
    for number, name in enumerate('aaabbcc'):
        folder = tmp_path / 'images' / name
        folder.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 255, (32, 32, 3), np.uint8)
        cv2.imwrite(str(folder / f'{number}.png'), pixels)
    return tmp_path / 'images'


@pytest.fixture
def cls_config(folders, tmp_path):
    """A distillation-free config of a tiny classifier on these files."""
    return Config(
        dict(
            model=classifier(),
            default_scope='mmpretrain',
            val_dataloader=dict(
                batch_size=2,
                num_workers=0,
                collate_fn=dict(type='default_collate'),
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(
                    type='CustomDataset',
                    data_root=str(folders),
                    data_prefix='',
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='PackInputs'),
                    ],
                ),
            ),
            val_evaluator=dict(type='Accuracy', topk=(1,)),
            val_cfg=dict(),
            work_dir=str(tmp_path / 'work'),
        )
    )


@pytest.fixture
def cls_pair(cls_config, dump, tmp_path):
    """Arguments of the tool for a pair with different preprocessing."""
    teacher = Config(
        dict(model=classifier(6, (90.0, 100, 130)), default_scope='mmpretrain')
    )
    return [
        dump(cls_config),
        save(cls_config.model, tmp_path / 'student.pth', 0),
        '--teacher-config',
        dump(teacher, 'teacher.py'),
        '--teacher-checkpoint',
        save(teacher.model, tmp_path / 'teacher.pth', 1),
    ]


def read(folder):
    text = (folder / 'analysis.json').read_text()
    return json.loads(text, parse_constant=pytest.fail)


def assert_pictures(folder, names=PICTURES):
    for name in names:
        picture = cv2.imread(str(folder / name))
        assert min(picture.shape[:2]) > 300 and picture.std() > 10, name


def assert_numbers(found, expected):
    """Compare with statistics computed here."""
    expected = expected.summary()
    for name in ('rows', 'labelled'):
        assert found[name] == expected[name]
    for name in ('agreement', 'kl', 'similarity', 'student_accuracy'):
        assert found[name] == pytest.approx(expected[name], rel=1e-5), name
    for name in ('logit_gap', 'correlation_gap'):
        assert found[name] == pytest.approx(expected[name], rel=1e-5), name
    for side in ('student', 'teacher'):
        assert found[side]['ece'] == pytest.approx(
            expected[side]['ece'], rel=1e-5
        )


def test_classifiers(run_tool, cls_pair, folders, tmp_path, capsys):
    run_tool('analyze', *cls_pair)
    found = read(tmp_path / 'work/analysis')
    assert_pictures(tmp_path / 'work/analysis')

    files = sorted(folders.rglob('*.png'))
    pixels = np.stack([cv2.imread(str(file)) for file in files])
    inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    logits = []
    for config, weights in (cls_pair[:2], cls_pair[3::2]):
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(Config.fromfile(config).model).eval()
        model.load_state_dict(torch.load(weights)['state_dict'])
        # each with its own mean and std
        data = model.data_preprocessor(dict(inputs=inputs))
        with torch.no_grad():
            logits.append(model(data['inputs'], mode='tensor'))
    expected = PairStatistics(3)
    expected.update(*logits, labels)
    assert_numbers(found, expected)
    same = logits[0].argmax(1) == logits[1].argmax(1)
    assert found['agreement'] == int(same.sum()) / 7
    assert found['images'] == 7 and found['classes'] == ['a', 'b', 'c']
    assert found['per_class']['rows'] == [3, 2, 2]
    assert found['models']['student']['parameters'] == sum(
        value.numel() for value in model_parameters(cls_pair[0])
    )
    with np.load(tmp_path / 'work/analysis/matrices.npz') as matrices:
        assert np.allclose(matrices['logit_gap'], expected.logit_gap())
    text = capsys.readouterr().out
    assert f'agreement {found["agreement"]:.4f}' in text


def model_parameters(config):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(Config.fromfile(config).model).parameters()


def test_many_classes_and_no_labels(
    run_tool, cls_config, folders, dump, tmp_path
):
    """Heat maps of more than 100 classes; rows without a class."""
    cls_config.model = classifier(classes=101)
    cls_config.val_dataloader.dataset.update(with_label=False)
    path = dump(cls_config)
    weights = save(cls_config.model, tmp_path / 'w.pth', 0)
    run_tool(
        'analyze',
        *(path, weights, '--teacher-config', path),
        *('--teacher-checkpoint', weights, '--out', tmp_path / 'out'),
    )
    found = read(tmp_path / 'out')
    assert found['labelled'] is False and found['student']['ece'] is None
    assert found['agreement'] == 1 and found['kl'] == 0
    assert len(found['classes']) == 101
    assert_pictures(tmp_path / 'out', ['similarity.png'])
    assert not (tmp_path / 'out/reliability.png').exists()


def test_detectors(run_tool, distilled, dump, tmp_path, capsys):
    """A distillation config brings its teacher; boxes are loaded last."""
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(128, 128), keep_ratio=True),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs'),
    ]
    distilled.test_dataloader.dataset.pipeline = pipeline
    # as large as what random weights propose
    path = tmp_path / 'coco/annotations/instances_val2017.json'
    path.write_text(path.read_text().replace('8, 8, 24, 24', '0, 0, 64, 60'))
    student = build(detector(), seed=1).eval()
    teacher = build(detector(width=12), seed=2).eval()
    # Classes that scores tell apart, and what a method would add.
    for model in (student, teacher):
        torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.weight)
    state = student.state_dict() | {'distill.loss_x.weight': torch.ones(3)}
    torch.save(dict(state_dict=state), tmp_path / 'student.pth')
    torch.save(dict(state_dict=teacher.state_dict()), tmp_path / 'teacher.pth')
    distilled.model.teacher.checkpoint = str(tmp_path / 'teacher.pth')
    # of a training step: here the student's own boxes are compared
    distilled.model.teacher.boxes_per_step = 3
    run_tool(
        'analyze',
        *(dump(distilled), tmp_path / 'student.pth'),
        *('--out', tmp_path / 'out'),
    )
    found = read(tmp_path / 'out')
    assert_pictures(tmp_path / 'out')

    frozen = FrozenTeacher(dict(model=detector(width=12)), None)
    frozen.model.load_state_dict(teacher.state_dict())
    pair = LogitPair(student, [(frozen, 1.0)], labelled=False)
    expected = PairStatistics(5)
    rois = []
    predict = student.rpn_head.predict
    student.rpn_head.predict = lambda *args, **kwargs: (
        rois.append(predict(*args, **kwargs)) or rois[-1]
    )
    for number in range(4):
        image = cv2.imread(str(tmp_path / f'coco/val2017/{number:012d}.jpg'))
        image = cv2.resize(image, (128, 128))
        ours, theirs, _ = pair(
            dict(
                inputs=[torch.from_numpy(image).permute(2, 0, 1)],
                data_samples=[sample()],
            )
        )
        # the box of every image, at twice its size
        box = torch.tensor([[0.0, 0, 128, 120]])
        overlap = box_iou(rois[-1][0].bboxes, box)[:, 0]
        labels = torch.where(overlap >= 0.5, number, 4)
        expected.update(ours, theirs, labels)
    assert_numbers(found, expected)
    rows = found['per_class']['rows']
    assert rows == expected.summary()['per_class']['rows']
    assert found['foreground']['rows'] == sum(rows[:-1]) > 0
    assert found['classes'][-1] == 'background'
    assert found['foreground']['agreement'] == pytest.approx(
        np.average(
            [x or 0 for x in found['per_class']['agreement'][:-1]],
            weights=rows[:-1],
        )
    )
    assert 'foreground: agreement' in capsys.readouterr().out


def sample():
    from mmdet.structures import DetDataSample

    return DetDataSample(
        metainfo=dict(
            img_shape=(128, 128),
            ori_shape=(64, 64),
            scale_factor=(2.0, 2.0),
        )
    )


@pytest.mark.slow
def test_two_processes_count_every_image_once(run_tool, cls_pair, tmp_path):
    run_tool('analyze', *cls_pair, '--out', tmp_path / 'one')
    command = [
        *(sys.executable, '-m', 'torch.distributed.run'),
        *('--nproc_per_node', '2', '--standalone'),
        *(ROOT / 'tools/analyze.py', *cls_pair),
        *('--out', tmp_path / 'two', '--launcher', 'pytorch'),
    ]
    result = subprocess.run(
        list(map(str, command)),
        env=dict(
            os.environ,
            PYTHONPATH=str(ROOT),
            CUDA_VISIBLE_DEVICES='-1',
            OMP_NUM_THREADS='1',
        ),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    one, two = read(tmp_path / 'one'), read(tmp_path / 'two')
    assert two['rows'] == 7
    assert two['per_class']['similarity'] == pytest.approx(
        one['per_class']['similarity'], rel=1e-5
    )
    for name in ('agreement', 'kl', 'student_accuracy'):
        assert two[name] == pytest.approx(one[name], rel=1e-5)


# -- finished runs ----------------------------------------------------------


@pytest.fixture
def runs(distilled, tmp_path):
    """Work dirs of a student alone and of a method with a projector."""
    save_run(tmp_path / 'sweep/alone', stock_config(distilled))
    extra = {'distill.loss_x.projector': torch.ones(3, 5)}
    save_run(tmp_path / 'sweep/method', distilled, **extra)
    return tmp_path / 'sweep'


def test_runs_alone(run_tool, runs, tmp_path, capsys):
    parameters = sum(p.numel() for p in build(detector()).parameters())
    run_tool(
        'analyze',
        *(
            '--runs',
            runs / 'alone',
            runs / 'method',
            '--out',
            tmp_path / 'out',
        ),
    )
    found = read(tmp_path / 'out')
    assert set(found) == {'runs'}
    assert found['runs'] == [
        dict(
            name=name,
            metric='coco/bbox_mAP',
            accuracy=0.3,
            std=None,
            runs=1,
            seconds_per_batch=pytest.approx(0.2),
            parameters=parameters,
            extra_parameters=extra,
        )
        for name, extra in (('alone', 0), ('method', 15))
    ]
    assert_pictures(tmp_path / 'out', ['parameters.png'])
    text = capsys.readouterr().out
    assert f'| method | 0.2000 | 15 | {parameters:,} | 0.3 | - | 1 |' in text


# -- refusals ---------------------------------------------------------------


def refuse(run_tool, capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        run_tool('analyze', *arguments)
    assert exit_.value.code != 0
    return capsys.readouterr().err


def test_arguments_that_are_missing(run_tool, cls_pair, tmp_path, capsys):
    assert 'or --runs' in refuse(run_tool, capsys)
    assert 'checkpoint' in refuse(run_tool, capsys, cls_pair[0])
    text = refuse(run_tool, capsys, *cls_pair[:2])
    assert '--teacher-config' in text
    text = refuse(run_tool, capsys, *cls_pair[:4])
    assert '--teacher-checkpoint' in text
    text = refuse(run_tool, capsys, *cls_pair, '--split', 'test')
    assert 'has no test_dataloader' in text
    assert 'no validation' in refuse(run_tool, capsys, '--runs', tmp_path)


def test_files_that_are_missing(run_tool, cls_pair, tmp_path, capsys):
    gone = tmp_path / 'gone.pth'
    for place, words in ((1, 'no file'), (5, 'does not exist')):
        arguments = list(cls_pair)
        arguments[place] = gone
        text = refuse(run_tool, capsys, *arguments)
        assert str(gone) in text and words in text


def test_weights_of_another_model(run_tool, cls_pair, capsys):
    swapped = [cls_pair[0], cls_pair[5], *cls_pair[2:]]
    text = refuse(run_tool, capsys, *swapped)
    assert 'does not fit' in text and 'in the file' in text


def test_teacher_of_other_classes(run_tool, cls_pair, dump, tmp_path, capsys):
    model = classifier(classes=4)
    cls_pair[3] = dump(
        Config(dict(model=model, default_scope='mmpretrain')), 'four.py'
    )
    cls_pair[5] = save(model, tmp_path / 'four.pth', 0)
    text = refuse(run_tool, capsys, *cls_pair)
    assert 'same classes' in text
    # the file says its classes: no image is needed to see it
    state = torch.load(cls_pair[5])
    state['meta'] = dict(dataset_meta=dict(classes=('a', 'b', 'c', 'd')))
    torch.save(state, cls_pair[5])
    text = refuse(run_tool, capsys, *cls_pair)
    assert 'disagree on the classes' in text and 'not in both: d' in text


def test_teacher_without_rois(
    run_tool, config, cls_pair, dump, tmp_path, capsys
):
    weights = tmp_path / 'detector.pth'
    torch.save(dict(state_dict=build(detector()).state_dict()), weights)
    text = refuse(
        run_tool, capsys, dump(config, 'det.py'), weights, *cls_pair[2:]
    )
    assert 'is a detector and the teacher' in text
