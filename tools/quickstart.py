"""Distil a detector in minutes: ``python tools/quickstart.py``.

Makes the data, digits in scenes, and distils a small Faster R-CNN from the
shipped teacher, as tools/distill.py does it with any data. If it is
interrupted, start it again to continue.
"""

import argparse
import os
import time
from pathlib import Path

from luminet_mm.files.shipped import working_folder
from luminet_mm.later import Later
from luminet_mm.launch.console import reported
from luminet_mm.launch.progress import clock
from luminet_mm.launch.training import prepare
from luminet_mm.recipe.request import Request

# what takes seconds to import, when it is needed
datasets = Later('luminet_mm.datasets')
command = Later('luminet_mm.recipe.command')

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
    root = working_folder()
    os.chdir(root)
    started = time.monotonic()
    slots = min(2, os.cpu_count() or 1)
    prepare(slots)

    print('data: digits in scenes (40 MB, made once)', flush=True)
    for split in ('train', 'val'):
        datasets.make_digits(f'{DATA}/', split)
    command.distill(
        Request(
            data=str(root / DATA),
            out=str(out),
            student=STUDENT,
            teacher=TEACHER,
            epochs=args.epochs,
            flip=False,  # a mirrored digit is another one, or none
        ),
        slots=slots,
        timed=False,
    )
    print(f'\nall of it took {clock(time.monotonic() - started)}')
    print(
        'One run of each shows little: docs/results.md has means over seeds.\n'
        'With your own data: python tools/distill.py DATA'
    )


if __name__ == '__main__':
    main()
