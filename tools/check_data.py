"""Check the data of a config: ``python tools/check_data.py CONFIG``.

Every photo is opened. Training itself checks the annotations and a few photos
before it starts.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from mmengine.config import Config
from mmengine.utils import track_parallel_progress, track_progress

from luminet_mm.later import Later
from luminet_mm.launch.command_line import add_arguments, load_config
from luminet_mm.launch.console import reported

# what takes seconds to import, when it is needed
data = Later('luminet_mm.preflight.data')

PHASES = ('train', 'val', 'test')


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Exit status: 1 with faults, 0 with warnings or none.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--phases',
        nargs='+',
        choices=PHASES,
        default=['train', 'val'],
        help='whose data to check; default: train val',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count() or 1,
        help='processes that open photos; default: one per processor',
    )
    add_arguments(parser)
    return parser.parse_args(arguments)


def with_progress(workers: int) -> Callable[[Callable, Sequence], list]:
    """Build the loop over photos, in processes, with a progress bar."""

    def each(function: Callable, tasks: Sequence) -> list:
        if not tasks:
            return []
        print(f'opening {len(tasks)} photos', file=sys.stderr)
        # a log file would get every state of the bar on one line
        bar = sys.stderr if sys.stderr.isatty() else io.StringIO()
        if workers < 2 or len(tasks) < 100:
            return track_progress(function, tasks, file=bar)
        return track_parallel_progress(
            function, tasks, workers, chunksize=16, file=bar
        )

    return each


def report(cfg: Config, phases: Sequence[str], workers: int) -> bool:
    """Check the data and print what was found.

    Returns:
        Whether there is no fault.
    """
    found = data.data_findings(cfg, phases, True, with_progress(workers))
    for title, lines in (
        ('note', found.notes),
        ('warning', found.warnings),
        ('fault', found.faults),
    ):
        for line in dict.fromkeys(lines):
            print(f'{title}: {line}')
    print(
        f'{len(set(found.faults))} fault(s), '
        f'{len(set(found.warnings))} warning(s)'
    )
    return not found.faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the data of a config; returns the exit status."""
    args = parse_args(arguments)
    with reported(args):
        cfg = load_config(args)
        return 0 if report(cfg, args.phases, args.workers) else 1


if __name__ == '__main__':
    raise SystemExit(main())
