"""The digits as a data set: MMDetection's pipeline, metric and runner."""

from pathlib import Path

import cv2
import pytest
import torch
from digits import read
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner

from luminet_mm.datasets import (
    DigitsDataset,
    make_digits,
)
from luminet_mm.registry import DATASETS

ROOT = Path(__file__).parents[3]

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]


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
