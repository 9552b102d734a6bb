"""Compare an evaluator's annotation file with that of the images."""

from __future__ import annotations

import os

from mmengine.config import Config

from luminet_mm.preflight.classes import class_names, wrong_categories
from luminet_mm.preflight.coco_json import read_section
from luminet_mm.preflight.evaluators import evaluator_configs
from luminet_mm.preflight.findings import Findings, such_as
from luminet_mm.preflight.leaves import Leaf


def scoring_findings(cfg: Config, leaf: Leaf) -> Findings:
    """Look for an evaluator's file with other images or classes.

    A config that changes the data but not the evaluator's file scores
    predictions for one photo against the boxes of another.

    Args:
        cfg: The whole config.
        leaf: A COCO data set for validation or test.
    """
    findings = Findings()
    key = f'{leaf.phase}_evaluator.ann_file'
    for evaluator in evaluator_configs(cfg, leaf.phase):
        path = evaluator.get('ann_file')
        if not path or not os.path.isfile(path):
            continue
        if os.path.samefile(path, leaf.ann_file):
            continue
        for line in wrong_categories(path, class_names(leaf)):
            findings.add(key, True, line)
        names = {
            image['id']: image.get('file_name')
            for image in read_section(path, 'images')
        }
        wrong = [
            str(image.get('file_name'))
            for image in read_section(leaf.ann_file, 'images')
            if names.get(image['id']) != image.get('file_name')
        ]
        if wrong:
            findings.add(
                key,
                True,
                f'{path} lacks {len(wrong)} images of {leaf.ann_file}, or '
                f'has others under their ids, {such_as(wrong)}; set it to '
                f'the file of {leaf.key}',
            )
    return findings
