"""AP whatever the class: ``python -m luminet_mm.analysis.class_free RUN...``.

A detector's AP falls both where boxes are off and where classes are wrong.
Here all classes are one, so that only the boxes and the order of their scores
count. For each run of ``tools/sweep.py`` or ``tools/train.py`` it tests the
last checkpoint and prints AP, AP50 and AP75 with classes and without.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.evaluation.metrics import CocoMetric
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torchvision.ops import nms

from luminet_mm.analysis.few_classes import merge_categories
from luminet_mm.runs.last import last_checkpoint
from luminet_mm.stock import stock_config

IOU = 0.5
"""Of two boxes of different classes that are one without these."""
KEYS = ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75')


class ClassFreeMetric(CocoMetric):
    """COCO's metrics of boxes with all classes as one.

    Boxes of different classes on one object would count as false ones, so of
    those that overlap by more than :data:`IOU` only the best is kept.

    Args:
        ann_file: The COCO file with classes.
        **kwargs: As for the stock metric.
    """

    default_prefix = 'class_free'

    def __init__(self, ann_file: str, **kwargs) -> None:
        super().__init__(ann_file=ann_file, metric='bbox', **kwargs)
        merged = merge_categories(self._coco_api.dataset, 1)
        self._coco_api.dataset = merged
        self._coco_api.createIndex()
        self._names = [each['name'] for each in merged['categories']]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the best box of each place, without its class."""
        super().process(data_batch, [_without(each) for each in data_samples])

    def compute_metrics(self, results: list) -> dict[str, float]:
        """See the stock metric."""
        self.dataset_meta = dict(classes=self._names)
        return super().compute_metrics(results)


def _without(sample: dict) -> dict[str, Any]:
    found = sample['pred_instances']
    kept = nms(found['bboxes'], found['scores'], IOU)
    return {
        **sample,
        'pred_instances': dict(
            bboxes=found['bboxes'][kept],
            scores=found['scores'][kept],
            labels=torch.zeros_like(found['labels'][kept]),
        ),
    }


def class_free(folder: Path) -> dict[str, float]:
    """Test the last checkpoint of a run.

    Args:
        folder: Its work dir.

    Returns:
        ``coco/...`` and ``class_free/...`` of :data:`KEYS`.

    Raises:
        ValueError: If the folder has no config, or no checkpoint.
    """
    configs = sorted(folder.glob('*.py'))
    checkpoint = last_checkpoint(folder)
    if len(configs) != 1 or checkpoint is None:
        raise ValueError(f'{folder}: it is not a finished run of tools/train.')
    cfg = stock_config(Config.fromfile(configs[0]))
    cfg.load_from, cfg.resume = str(checkpoint), False
    cfg.work_dir = str(folder / 'class_free')
    cfg.log_level = 'ERROR'
    runner = Runner.from_cfg(cfg)
    evaluator: Any = runner.build_evaluator(
        [
            cfg.test_evaluator,
            ClassFreeMetric(ann_file=cfg.test_evaluator['ann_file']),
        ]
    )
    runner._test_evaluator = evaluator
    found = runner.test()
    return {
        f'{prefix}/{key}': found[f'{prefix}/{key}']
        for prefix in ('coco', 'class_free')
        for key in KEYS
    }


def main(args: Sequence[str] | None = None) -> None:
    """Print a line for each run, and perhaps write all of them."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('runs', nargs='+', type=Path, help='work dirs')
    parser.add_argument('--json', help='file to write')
    options = parser.parse_args(args)
    MMLogger.get_current_instance().setLevel('ERROR')
    found = {}
    for folder in options.runs:
        found[folder.name] = class_free(folder)
        words = ' '.join(
            f'{100 * v:6.1f}' for v in found[folder.name].values()
        )
        print(f'{folder.name:32}{words}', flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
    main()
