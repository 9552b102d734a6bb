"""Distil a detector in minutes: ``python tools/quickstart.py``.

Makes the data, digits in scenes, and distils a small Faster R-CNN from the
shipped teacher, as tools/distill.py does it with any data. If it is
interrupted, start it again to continue.
"""

import argparse
import os
import time
from pathlib import Path

import luminet_mm  # noqa: F401  (serves mmcv.ops before mmdet is imported)
from luminet_mm.launch.console import reported

ROOT = Path(__file__).resolve().parent.parent
DATA = 'data/digits'
TEACHER = ('configs/frcnn_teacher_digits.py', 'weights/digits_teacher.pth')
STUDENT = ('configs/frcnn_student_digits.py',)
EPOCHS = 3


@reported()
def main() -> None:
    """Make the data, and distil."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='work_dirs/quickstart')
    parser.add_argument(
        '--epochs', type=int, default=EPOCHS, help='of each student'
    )
    args = parser.parse_args()
    out = Path(args.out).resolve()
    os.chdir(ROOT)
    started = time.monotonic()
    # inside, so that the zoos' notices are not shown
    from luminet_mm.datasets import make_digits
    from luminet_mm.launch.progress import clock
    from luminet_mm.recipe.command import distill
    from luminet_mm.recipe.request import Request

    print('data: digits in scenes (40 MB, made once)', flush=True)
    for split in ('train', 'val'):
        make_digits(f'{DATA}/', split)
    distill(
        Request(
            data=str(ROOT / DATA),
            out=str(out),
            student=STUDENT,
            teacher=TEACHER,
            epochs=args.epochs,
            flip=False,  # a mirrored digit is another one, or none
        ),
        slots=min(2, os.cpu_count() or 1),
        timed=False,
    )
    print(f'\nall of it took {clock(time.monotonic() - started)}')
    print(
        'One run of each shows little: docs/results.md has means over seeds.\n'
        'With your own data: python tools/distill.py DATA'
    )


if __name__ == '__main__':
    main()
