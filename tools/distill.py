"""From data to a distilled model: ``python tools/distill.py DATA``.

DATA is in COCO's, YOLO's or VOC's layout, or has a folder for each class. It
is checked; image size, anchors and the length of the training are fitted to
it; three short configs are written; teacher, student and distilled student
are trained, and compared. If it is interrupted, start it again to continue.
"""

import argparse
from pathlib import Path

from luminet_mm.later import Later
from luminet_mm.launch.console import reported
from luminet_mm.recipe.request import Request

# what takes seconds to import, when it is needed
command = Later('luminet_mm.recipe.command')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('data', help='folder of the data')
    parser.add_argument(
        '--teacher',
        nargs='+',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT'),
        help='its config (a file or mmdet::...) and its checkpoint (a file '
        'or URL); without a checkpoint it is trained; default: a small one',
    )
    parser.add_argument(
        '--student',
        nargs='+',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT'),
        help='its config, and perhaps weights to start from; default: a '
        'small one for small images',
    )
    parser.add_argument(
        '--budget',
        help='time for everything, as in 30m or 2h; default: the usual '
        'length of training',
    )
    parser.add_argument(
        '--epochs', type=int, help='of a student, in place of a budget'
    )
    parser.add_argument(
        '--out', help='folder for everything; default work_dirs/distill_<data>'
    )
    parser.add_argument(
        '--write-only', action='store_true', help='write the configs and stop'
    )
    parser.add_argument(
        '--no-baseline',
        action='store_true',
        help='do not train the student alone as well',
    )
    parser.add_argument(
        '--no-flip',
        action='store_true',
        help='do not mirror images: for digits, text, left and right hands',
    )
    parser.add_argument(
        '--slots',
        type=int,
        default=1,
        help='students that are trained at the same time (1); 2 is faster on '
        'a CPU without a GPU',
    )
    parser.add_argument('--seed', type=int, default=0, help='of all runs')
    parser.add_argument(
        '--verbose', action='store_true', help="show an error's traceback"
    )
    args = parser.parse_args()
    for name in ('teacher', 'student'):
        if len(getattr(args, name)) > 2:
            parser.error(f'--{name} takes a config and a checkpoint')
    if args.slots < 1:
        parser.error(f'--slots {args.slots}: set 1 or more')
    return args


def main() -> None:
    """Turn the command line into a request, and answer it."""
    args = parse_args()
    data = Path(args.data).expanduser().resolve()
    out = Path(args.out or f'work_dirs/distill_{data.name}').resolve()
    with reported(args):
        command.distill(
            Request(
                data=str(data),
                out=str(out),
                student=tuple(args.student),
                teacher=tuple(args.teacher),
                budget=args.budget,
                epochs=args.epochs,
                baseline=not args.no_baseline,
                flip=not args.no_flip,
                seed=args.seed,
            ),
            args.write_only,
            args.slots,
        )


if __name__ == '__main__':
    main()
