"""Two runs of a sweep, and a training for them that costs nothing."""

from luminet_mm.launch.grid import Cell


def cells(config='good.py'):
    return [
        Cell(f'kd_{s}', config, {'randomness.seed': s}, 'kd') for s in (0, 2)
    ]


FAKE_TRAIN = """
import json, os, pathlib, sys, time
out = pathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1])
calls = out / 'calls'
calls.write_text((calls.read_text() if calls.exists() else '') + 'x')
(out / 'environment').write_text(json.dumps(dict(os.environ)))
if 'broken' in sys.argv[1] and len(calls.read_text()) == 1:
    print('ValueError: out of luck')
    sys.exit(3)
if 'diverges' in sys.argv[1]:
    print('error: out of', ['luck', 'weights'][len(calls.read_text()) - 1])
    print('The traceback is in a file')
    sys.exit(1)
if 'slow' in sys.argv[1]:
    time.sleep(250)
seed = int(sys.argv[-1].split('=')[1])
log = out / f'2026_{len(calls.read_text())}' / 'vis_data'
log.mkdir(parents=True)
lines = [dict(iter=i, time=0.1 * i, loss=1.0, step=i) for i in (1, 2, 3)]
lines += [{'coco/bbox_mAP': 0.5 + seed / 10, 'step': 1},
          {'coco/bbox_mAP': 0.3 + seed / 10, 'step': 2}]
(log / 'scalars.json').write_text('\\n'.join(map(json.dumps, lines)))
"""


def calls(folder):
    """How often a run's training was started."""
    return len((folder / 'calls').read_text())
