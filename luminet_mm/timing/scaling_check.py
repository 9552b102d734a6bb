"""Compare the plan of step times with gloo ranks on this machine's cores.

``python -m luminet_mm.timing.scaling_check CONFIG --ranks 2 4`` pins each rank
to a core of its own. The plan's network is what all-reduces between these
ranks take, so what is checked is how the plan puts a step together: buckets,
what the backward pass hides, statistics. All figures are ratios.

Ranks on cores of one machine share its memory, which slows down any step.
So ranks that learn together are compared with as many processes that run the
same step at the same time, each for itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from mmengine.config import Config

from luminet_mm.timing.cores import CoresError, take_cores
from luminet_mm.timing.network import BUCKET, communication, link_of
from luminet_mm.timing.ranks import ask, serve
from luminet_mm.timing.scaling import step_sizes

SMALL = 8
"""Bytes of a message that is nothing but latency."""


def compare(
    alone: Sequence[Any],
    teams: Mapping[int, Sequence[Any]],
    sizes: tuple[int, Sequence[int]],
    rounds: int,
    steps: int,
) -> dict[int, dict]:
    """Measure teams of ranks, and what the plan says of them.

    Args:
        alone: Pipes to processes that learn for themselves.
        teams: Pipes to ranks that learn together, by their number.
        sizes: Trainable parameters, and bytes of each collective for
            statistics.
        rounds: How often each is timed, in turns, after one that warms up.
        steps: Steps in a turn.

    Returns:
        For each number of ranks: ``measured``, the time of a step over that
        of as many single processes (median, lowest, highest round);
        ``predicted``, the same of the plan; ``off``, how much more the plan
        says; ``shared``, single processes at once over one of them.
    """
    together: dict[int, list[float]] = {ranks: [] for ranks in teams}
    shared: dict[int, list[float]] = {ranks: [] for ranks in teams}
    for turn in range(-1, rounds):
        one = ask(alone[:1], 'steps', steps)[0]
        for ranks, team in teams.items():
            apart = max(ask(alone[:ranks], 'steps', steps))
            joint = max(ask(team, 'steps', steps))
            if turn >= 0:
                together[ranks].append(joint / apart)
                shared[ranks].append(apart / one)
    return {
        ranks: _row(
            together[ranks],
            shared[ranks],
            _predicted(alone[:ranks], team, sizes, steps),
        )
        for ranks, team in teams.items()
    }


def _row(
    measured: Sequence[float], shared: Sequence[float], predicted: float
) -> dict:
    middle = statistics.median(measured)
    return dict(
        measured=dict(
            median=round(middle, 3),
            low=round(min(measured), 3),
            high=round(max(measured), 3),
        ),
        predicted=round(predicted, 3),
        off=round(predicted / middle - 1, 3),
        shared=round(statistics.median(shared), 3),
    )


def _predicted(
    alone: Sequence[Any],
    team: Sequence[Any],
    sizes: tuple[int, Sequence[int]],
    steps: int,
) -> float:
    """A step of the plan over its computation."""
    parts = ask(alone, 'parts', steps)
    forward, backward = (max(column) for column in zip(*parts, strict=True))
    small, large = (
        max(ask(team, 'all_reduce', size)) for size in (SMALL, BUCKET)
    )
    link = link_of(len(team), small, large, BUCKET)
    parameters, exchanges = sizes
    plan = communication(link, 4 * parameters, exchanges)
    return plan.step(forward, backward) / (forward + backward)


def run(
    config: str,
    ranks: Sequence[int],
    sizes: tuple[int, tuple[int, int]],
    cores: Sequence[int],
    rounds: int,
    steps: int,
    method: str = 'spawn',
) -> dict[int, dict]:
    """Start all processes, and compare; see :func:`compare`.

    Args:
        config: Path of the config.
        ranks: Numbers of ranks, from 2.
        sizes: Images of a rank; their height and width in pixels.
        cores: As many as the largest number of ranks.
        rounds: See :func:`compare`.
        steps: See there.
        method: How processes start: ``'spawn'``, or ``'fork'``, which is
            faster but copies what this process has in memory.
    """
    context: Any = get_context(method)
    counted = step_sizes(Config.fromfile(config))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())

        def start(core: int, group: tuple[str, int, int] | None) -> Any:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=serve,
                args=(theirs, config, sizes, core, group),
                daemon=True,
            )
            process.start()
            theirs.close()  # so that its end shows when it fails
            stack.callback(_end, process, ours)
            return ours

        alone = [start(core, None) for core in cores]
        teams = {
            count: [
                start(core, (f'{folder}/{count}', count, rank))
                for rank, core in enumerate(cores[:count])
            ]
            for count in ranks
        }
        return compare(alone, teams, counted, rounds, steps)


def _end(process: Any, pipe: Any) -> None:
    process.kill()  # first, or it would report that the pipe has ended
    process.join()
    pipe.close()


def main(
    arguments: Sequence[str] | None = None,
    cores_for: Callable[..., list[int]] = take_cores,
) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog='python -m luminet_mm.timing.scaling_check',
        description='How far the plan of step times is off, on gloo ranks.',
    )
    parser.add_argument('config')
    parser.add_argument('--ranks', type=int, nargs='+', default=[2])
    parser.add_argument('--batch-size', type=int, default=2, help='of a rank')
    parser.add_argument(
        '--image-size',
        type=int,
        nargs=2,
        default=[240, 320],
        metavar=('HEIGHT', 'WIDTH'),
    )
    parser.add_argument('--rounds', type=int, default=10)
    parser.add_argument('--steps', type=int, default=3, help='of a turn')
    parser.add_argument(
        '--busy',
        action='store_true',
        help='run on busy cores too, to try it out; the figures then say '
        'little',
    )
    parser.add_argument('--json', help='where to write the figures')
    args = parser.parse_args(arguments)
    if min(args.ranks) < 2:
        parser.error('--ranks: one rank is what the others are compared with')
    try:
        cores = cores_for(max(args.ranks), args.busy)
    except CoresError as error:
        parser.error(str(error))
    sizes = args.batch_size, tuple(args.image_size)
    found = run(args.config, args.ranks, sizes, cores, args.rounds, args.steps)
    print('| ranks | measured | predicted | off | as many, apart |')
    print('| --- | --- | --- | --- | --- |')
    for count, row in found.items():
        each = row['measured']
        print(
            f'| {count} | {each["median"]:.3f} ({each["low"]:.3f} to '
            f'{each["high"]:.3f}) | {row["predicted"]:.3f} | '
            f'{row["off"]:+.1%} | {row["shared"]:.3f} |'
        )
    if args.json:
        text = dict(
            config=args.config,
            batch_size=args.batch_size,
            image_size=args.image_size,
            rounds=args.rounds,
            steps=args.steps,
            busy=args.busy,
            ranks=found,
        )
        Path(args.json).write_text(json.dumps(text, indent=1) + '\n')


if __name__ == '__main__':
    main()
