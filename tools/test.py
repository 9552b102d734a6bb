"""Evaluate a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

from mmengine.config import Config

from luminet_mm.files.config_file import renamed
from luminet_mm.later import Later
from luminet_mm.launch.command_line import (
    add_arguments,
    add_checkpoint_flags,
    load_config,
)
from luminet_mm.launch.console import reported
from luminet_mm.runs.launchers import LaunchError

# what takes seconds to import, when it is needed
runners = Later('luminet_mm.launch.runner')
preflight = Later('luminet_mm.preflight')
stock = Later('luminet_mm.stock')


def parse_args() -> argparse.Namespace:
    """Read the command line; the flags are MMDetection's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    add_arguments(parser)
    parser.add_argument('--out', help='write the predictions to this .pkl')
    parser.add_argument('--show', action='store_true', help='show predictions')
    parser.add_argument(
        '--show-dir',
        help='draw predictions into this folder; for detectors it is below '
        'work_dir/<timestamp>',
    )
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds to show each image'
    )
    parser.add_argument(
        '--tta', action='store_true', help='test-time augmentation'
    )
    add_checkpoint_flags(parser)
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out {args.out}: the name must end in .pkl')
    return args


def apply_flags(cfg: Config, args: argparse.Namespace) -> None:
    """Write the test flags into the config.

    Raises:
        LaunchError: If a flag needs what the config lacks.
    """
    if args.show or args.show_dir:
        hook = cfg.get('default_hooks', {}).get('visualization')
        if hook is None:
            kind = (
                'VisualizationHook'
                if classifies(cfg)
                else 'DetVisualizationHook'
            )
            raise LaunchError(
                '--show and --show-dir need default_hooks.visualization='
                f'dict(type={kind!r}) in the config.'
            )
        if classifies(cfg) and args.tta:
            raise LaunchError(
                "--show and --show-dir: MMPretrain's hook cannot draw the "
                'several views of --tta. Run them one after the other.'
            )
        if classifies(cfg):
            hook.update(enable=True, interval=1)
        else:
            hook.update(draw=True)
        if args.show:
            hook.update(show=True, wait_time=args.wait_time)
        if args.show_dir:
            key = 'out_dir' if classifies(cfg) else 'test_out_dir'
            hook[key] = args.show_dir
    if args.tta:
        use_tta(cfg)


def classifies(cfg: Config) -> bool:
    """Whether the config is one of MMPretrain."""
    return cfg.get('default_scope') == 'mmpretrain'


def use_tta(cfg: Config) -> None:
    """Merge predictions on each image and on its mirror image.

    ``tta_model`` and ``tta_pipeline`` of the config win over these defaults.
    """
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    if 'tta_model' not in cfg:
        cfg.tta_model = (
            dict(type='AverageClsScoreTTA')
            if classifies(cfg)
            else dict(
                type='DetTTAModel',
                tta_cfg=dict(
                    nms=dict(type='nms', iou_threshold=0.5), max_per_img=100
                ),
            )
        )
    if 'tta_pipeline' not in cfg:
        pack = dataset.pipeline[-1]
        if not classifies(cfg):
            # DetTTAModel flips boxes back, so it needs to know the flip
            pack = dict(
                type='PackDetInputs',
                meta_keys=(
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                    'flip',
                    'flip_direction',
                ),
            )
        # the plain view first: its annotations are the ones scored
        flips = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
        cfg.tta_pipeline = copy.deepcopy(dataset.pipeline[:-1]) + [
            dict(type='TestTimeAug', transforms=[flips, [pack]])
        ]
    cfg.model = dict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline


def main() -> None:
    """Check everything that can be checked, then evaluate the student."""
    args = parse_args()
    with reported(args):
        cfg = load_config(args)
        cfg.load_from = args.checkpoint
        preflight.check_text(cfg, ('test',), args.faults)
        cfg = stock.stock_config(cfg)
        apply_flags(cfg, args)
        preflight.check_config(cfg, ('test',))
        # the file in the work dir is the record of the training
        cfg = renamed(cfg, f'{Path(args.config).stem}_test.py')
        runner = runners.build_runner(
            cfg, args.trust, args.allow_partial, args=args
        )
        if args.out:
            from mmdet.evaluation import DumpDetResults

            runner.test_evaluator.metrics.append(
                DumpDetResults(out_file_path=args.out)
            )
        runner.test()


if __name__ == '__main__':
    main()
