"""Export a student to ONNX or TorchScript.

``python tools/export.py CONFIG CHECKPOINT OUT --size H W``

Writes ONNX or TorchScript files that need neither MMEngine nor this package,
and compares each with the model on other inputs. Pixels are normalised inside
the file. A detector's boxes are decoded, and merged by NMS, outside of it: a
one-stage detector is one file, from pixels to the maps of its head; a
two-stage detector is two, OUT_rpn from pixels to the pyramid and the maps of
the RPN, and OUT_roi (one for each stage of a cascade) from RoIs to logits and
deltas.
"""

from __future__ import annotations

import argparse

from luminet_mm.later import Later
from luminet_mm.launch.console import reported

# what takes seconds to import, when it is needed
exports = Later('luminet_mm.export')
FORMATS = ('onnx', 'torchscript')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        'config', help="the student's config, or that of its distillation"
    )
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('out', help='path of the result, without its ending')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        required=True,
        metavar=('H', 'W'),
        help='height and width of the images; the number of images, or of '
        'RoIs, is free',
    )
    parser.add_argument(
        '--format',
        choices=FORMATS,
        default='onnx',
        help='%(default)s by default, which needs onnx, onnxruntime and '
        'onnxscript',
    )
    return parser.parse_args()


def main() -> None:
    """Load the student, export and compare its parts."""
    args = parse_args()
    with reported(args):
        model = exports.load_student(args.config, args.checkpoint)
        for part in exports.parts_of(model, tuple(args.size)):
            found = exports.export(part, args.out, args.format)
            print(
                f'wrote {found.path}, the largest difference is '
                f'{found.difference:.1g} of the largest value'
            )
            print(f'  inputs   {", ".join(part.inputs)}')
            print(f'  outputs  {", ".join(part.outputs)}')


if __name__ == '__main__':
    main()
