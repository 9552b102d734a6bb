"""Check the data sets of a config: files, classes, boxes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from luminet_mm.preflight.classes import (
    built_differences,
    class_findings,
    class_names,
    wrong_categories,
)
from luminet_mm.preflight.contents import content_findings, one_by_one
from luminet_mm.preflight.evaluators import evaluator_configs
from luminet_mm.preflight.faults import file_problem, is_remote, raise_faults
from luminet_mm.preflight.findings import Findings
from luminet_mm.preflight.heads import head_findings
from luminet_mm.preflight.images import Each
from luminet_mm.preflight.layouts import layout_problems
from luminet_mm.preflight.leaves import (
    Leaf,
    is_coco,
    leaves,
    makes_own_data,
    path_problems,
)
from luminet_mm.preflight.mapping import mapping_findings


def leaf_datasets(dataset: Any) -> list:
    """The data sets inside built wrappers (repeated, concatenated, mixed)."""
    if hasattr(dataset, 'datasets'):
        return [
            leaf for inner in dataset.datasets for leaf in leaf_datasets(inner)
        ]
    if hasattr(dataset, 'dataset'):
        return leaf_datasets(dataset.dataset)
    return [dataset]


def check_annotations(datasets: Sequence) -> None:
    """Check the classes of built data sets, as :func:`check_config` does.

    For runs that did not go through :func:`check_config`: mmdet silently drops
    a category that is missing in the file, or renumbers.

    Args:
        datasets: Without wrappers, those of training first.

    Raises:
        ConfigError: If a COCO file lacks a class or has another order, or the
            data sets' classes differ.
    """
    problems = []
    for dataset in datasets:
        if is_coco(type(dataset)) and os.path.isfile(dataset.ann_file):
            problems += wrong_categories(
                dataset.ann_file, dataset.metainfo.get('classes') or ()
            )
    raise_faults(problems + built_differences(datasets))


def data_findings(
    cfg: Config,
    phases: Sequence[str],
    complete: bool = False,
    each: Each = one_by_one,
) -> Findings:
    """Check the data of phases: files, classes, head sizes, boxes.

    With several processes on a machine, only the first reads the data.

    Args:
        cfg: The whole config.
        phases: Of 'train', 'val' and 'test'.
        complete: Open all photos, which takes as long as loading an
            epoch; by default a few of each data set.
        each: Maps a function over a list of photos.
    """
    findings = Findings()
    order = sorted(phases, key=('train', 'val', 'test').index)
    found = [leaf for phase in order for leaf in leaves(cfg, phase)]
    sound = []
    for leaf in found:
        lines = _file_problems(leaf)
        findings.faults += lines
        sound += [] if lines else [leaf]
    for phase in order:
        findings.faults += _evaluator_problems(
            cfg, phase, [leaf for leaf in found if leaf.phase == phase]
        )
    # missing files cannot be compared yet
    findings.attempt('data', class_findings, sound)
    findings.attempt('model', _model_findings, cfg, sound)
    if os.environ.get('LOCAL_RANK', '0') == '0':
        findings += _contents(cfg, sound, complete, each)
    return findings


def _contents(
    cfg: Config, sound: Sequence[Leaf], complete: bool, each: Each
) -> Findings:
    """Read the data sets, each once."""
    findings = Findings()
    seen = set()
    for leaf in sound:
        again = repr((leaf.phase == 'train', leaf.settings))
        if again in seen:
            continue
        seen.add(again)
        findings.attempt(leaf.key, content_findings, cfg, leaf, complete, each)
    return findings


def _model_findings(cfg: Config, found: Sequence[Leaf]) -> Findings:
    """Compare the heads with the first data set that names its classes."""
    for leaf in found:
        try:
            names = class_names(leaf)
        except ValueError:
            continue  # already reported
        if names:
            findings = head_findings(
                cfg.get('model'),
                cfg.get('default_scope'),
                leaf,
                names,
                cfg.get('data_preprocessor'),
            )
            findings += mapping_findings(cfg.get('model'), leaf, names)
            return findings
    return Findings()


def _evaluator_problems(
    cfg: Config, phase: str, found: Sequence[Leaf]
) -> list[str]:
    """Find an evaluator's file that is missing."""
    if not found or any(
        makes_own_data(leaf) or leaf.settings.get('backend_args')
        for leaf in found
    ):
        return []
    key = f'{phase}_evaluator.ann_file'
    hint = found[0].hint('ann_file').replace(f'{found[0].key}.ann_file', key)
    return [
        line
        for evaluator in evaluator_configs(cfg, phase)
        for line in file_problem(key, evaluator.get('ann_file'), hint)
    ]


def _file_problems(leaf: Leaf) -> list[str]:
    """Find files and folders of a data set that are missing."""
    wrong = leaf.wrong_types()
    if wrong or makes_own_data(leaf) or leaf.settings.get('backend_args'):
        return wrong
    if is_remote(leaf.root):
        return []
    lines = layout_problems(leaf.cls, leaf.settings)
    if lines is not None:
        return [f'{leaf.key}: {line}' for line in lines]
    problems = path_problems(leaf)
    if os.path.isfile(leaf.ann_file) and leaf.is_coco:
        problems += _category_problems(leaf)
    return problems


def _category_problems(leaf: Leaf) -> list[str]:
    try:
        names = class_names(leaf)
    except ValueError as error:
        return [str(error)]
    return [
        f'{leaf.key}.ann_file: {line}'
        for line in wrong_categories(leaf.ann_file, names)
    ]
