"""Run code in a process that has imported nothing of OpenMMLab's zoos yet.

As ``python -c`` and ``python -m`` do, less the seconds that importing torch
takes: a server imports it once, and the processes are its forks.
"""

import atexit
import functools
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRELOADED = (
    *('torch', 'torch._dynamo.utils', 'torchvision', 'torch.distributed'),
    *('mmengine.runner', 'mmengine.visualization', 'mmengine.hub'),
    *('cv2', 'pycocotools.coco', 'scipy.optimize', 'scipy.stats'),
)
# What depends on when it is imported, and by whom.
LATER = ('luminet_mm', 'mmcv', 'mmdet', 'mmpretrain')


def run(words, cwd=ROOT, path=(ROOT,)):
    """Run ``python WORDS``, of which the first is ``-c`` or ``-m``.

    Args:
        words: As on the command line.
        cwd: The folder to run in.
        path: What PYTHONPATH has.

    Returns:
        subprocess.CompletedProcess: Exit code and what was printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, 'out'), Path(folder, 'err')
        request = dict(
            words=list(map(str, words)),
            cwd=str(cwd),
            path=list(map(str, path)),
            env=dict(os.environ),
            files=[str(out), str(err)],
        )
        server = _server()
        server.stdin.write(json.dumps(request) + '\n')
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, f'the server ended with {server.wait()}'
        return subprocess.CompletedProcess(
            words, int(answer), out.read_text(), err.read_text()
        )


@functools.cache
def _server():
    process = subprocess.Popen(
        [sys.executable, '-W', 'ignore', __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
    )
    atexit.register(process.kill)
    return process


def _serve():
    for name in PRELOADED:
        import_module(name)
    assert not set(LATER) & set(sys.modules)
    # without the folder of this file, where a stranger's code would look
    own = [each for each in sys.path[1:] if each]
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if not process:
            _child(own, **request)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _child(own, words, cwd, path, env, files):
    code = 1
    try:
        for number, file in enumerate((os.devnull, *files)):
            flags = os.O_RDWR | os.O_CREAT
            os.dup2(os.open(file, flags, 0o600), number)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env, OMP_NUM_THREADS='1')
        os.environ['PYTHONPATH'] = os.pathsep.join(path)
        sys.path[:] = ['', *path, *own]
        kind, what, *arguments = words
        sys.argv = [kind, *arguments]
        if kind == '-m':
            runpy.run_module(what, run_name='__main__', alter_sys=True)
        else:
            exec(compile(what, '<string>', 'exec'), {'__name__': '__main__'})
        code = 0
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
        code = code if isinstance(code, int) else int(code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == '__main__':
    _serve()
