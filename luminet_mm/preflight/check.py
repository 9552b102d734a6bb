"""Check a config before anything is built, and report all faults at once.

A missing folder or a misspelt class otherwise shows up minutes later, one at
a time, in every process.
"""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from luminet_mm.preflight import (
    caches,
    distill,
    epochs,
    evaluators,
    hooks,
    keys,
    models,
    queries,
    student,
)
from luminet_mm.preflight.data import data_findings
from luminet_mm.preflight.faults import (
    guarded,
    one_line,
    raise_faults,
)
from luminet_mm.preflight.text import load_problems


def check_config(
    cfg: Config,
    phases: Sequence[str] = ('train', 'val'),
    known: Sequence[str] = (),
) -> None:
    """Check files, names, annotations and distillation settings.

    Each check is guarded: an error inside it becomes a fault of the block, and
    the other checks continue.

    Args:
        cfg: The whole config, as it would run.
        phases: Which of 'train', 'val' and 'test' will run.
        known: Faults that were found earlier, such as those of
            ``--cfg-options``.

    Raises:
        ConfigError: If anything is wrong; each line names the key of the
            config, the file and the fix.
    """
    problems = list(known)

    def run(key: str, check: Callable[..., list[str]], *args: Any) -> None:
        # an entry that is not a block is reported once
        if not any(line.startswith(f'{key}: ') for line in problems):
            problems.extend(guarded(problems, key, check, *args) or [])

    run('config', keys.shape_problems, cfg)
    if not isinstance(cfg.get('default_scope'), (str, type(None))):
        # reported; the rest can be checked without it
        cfg = Config({**cfg, 'default_scope': None})
    run('config', keys.top_problems, cfg)
    run('model', models.model_problems, cfg)
    run('model', queries.query_problems, cfg)
    if 'train' in phases:
        run('model', distill.distill_problems, cfg)
        run('model', caches.cached_problems, cfg)
        run('model', student.student_problems, cfg)
        run('model', models.pretrained_problems, cfg.get('model'), 'model')
    run('hooks', hooks.hook_problems, cfg, phases)
    run('load_from', load_problems, cfg)
    for phase in phases:
        run('config', keys.missing_problems, cfg, phase)
        run(f'{phase}_evaluator', evaluators.evaluator_problems, cfg, phase)
        loader = f'{phase}_dataloader'
        run(loader, epochs.sampler_problems, cfg, phase)
    found = guarded(problems, 'data', data_findings, cfg, phases)
    problems += found.faults if found else []
    warnings = found.warnings if found else []
    if 'train' in phases:
        of_stages = guarded(problems, 'hooks', epochs.stage_warnings, cfg)
        warnings = [*(of_stages or ()), *warnings]
    # before the faults, because they may explain them
    first = os.environ.get('LOCAL_RANK', '0') == '0'
    for line in dict.fromkeys(warnings) if first else ():
        print_log(line, 'current', logging.WARNING)
    raise_faults([one_line(line, 2000) for line in problems])
