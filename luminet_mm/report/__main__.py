"""Write a report of runs: ``python -m luminet_mm.report WORK_DIRS``.

Reads work dirs of tools/train.py and folders of tools/sweep.py, and writes one
HTML file that needs no network: whether the distilled runs end above the
student alone and how sure that is, accuracy, curves, pictures, cost, configs.
Which run is what follows from the configs in the folders.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from luminet_mm.later import Later
from luminet_mm.launch.console import reported

# what takes seconds to import, when it is needed
page = Later('luminet_mm.report.page')
gather = Later('luminet_mm.report.gather')
record = Later('luminet_mm.report.record')


def parse_args(args: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        args: Its words; by default those of this process.
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'work_dirs',
        nargs='+',
        help='work dirs of tools/train.py, folders of tools/sweep.py',
    )
    parser.add_argument(
        '--out', help='HTML file; default report.html in the first folder'
    )
    parser.add_argument(
        '--json',
        help='a JSON file too: versions, configs, scores by seed',
    )
    parser.add_argument(
        '--metric',
        help='what the verdict is about, with or without its prefix; default '
        'coco/bbox_mAP or accuracy/top1',
    )
    parser.add_argument(
        '--teacher',
        help="work dir of the teacher; default: found by the config's "
        'model.teacher among the folders',
    )
    parser.add_argument(
        '--images',
        type=int,
        help='validation images that the models predict, for results by '
        'class and pictures; default 500 for detectors and 5000 for '
        'classifiers, 0 for none',
    )
    parser.add_argument(
        '--pictures',
        type=int,
        default=6,
        help='images to show that gained most, and that lost most '
        '(%(default)s)',
    )
    options = parser.parse_args(args)
    for name in ('images', 'pictures'):
        if (getattr(options, name) or 0) < 0:
            parser.error(f'--{name} is negative; give 0 for none.')
    return options


def main(args: Sequence[str] | None = None) -> None:
    """Read, write, and say where.

    Args:
        args: Words of the command line.
    """
    options = parse_args(args)
    with reported(options):
        out = options.out or Path(options.work_dirs[0], 'report.html')
        report = page.write_report(
            options.work_dirs,
            out,
            metric=options.metric,
            teacher=options.teacher,
            images=options.images,
            pictures=options.pictures,
        )
        print(gather.verdict(report)[0])
        print(f'wrote {out}')
        if options.json:
            record.write_record(report, options.json)
            print(f'wrote {options.json}')


if __name__ == '__main__':
    main()
