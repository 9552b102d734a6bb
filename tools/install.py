"""Install this project into the environment that runs this: ``make`` does.

``python tools/install.py -e '.[dev]'``. With uv, which is put into the
environment first and unpacks many packages at a time; with pip where uv
cannot be had or fails. Both get the same settings and the same wheels.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PIP = (sys.executable, '-m', 'pip')
UV = (sys.executable, '-m', 'uv')
# Nothing is compiled. The three forks come as source archives of pure Python
# (seconds); building them from source also bypasses a wheel of mmcv that may
# be in a cache, compiled for another torch.
FROM_SOURCE = ('onedl-mmcv', 'onedl-mmdetection', 'onedl-mmpretrain')
# pip's settings, and the variables by which uv knows them.
KNOWN_TO_UV = {
    'index-url': 'UV_DEFAULT_INDEX',
    'extra-index-url': 'UV_EXTRA_INDEX_URL',
    'find-links': 'UV_FIND_LINKS',
    'constraint': 'UV_CONSTRAINT',
    'cert': 'SSL_CERT_FILE',
    'no-index': 'UV_NO_INDEX',
}
LISTS = ('find-links',)  # uv wants commas in these


def pip_settings(listing: str) -> dict[str, str]:
    """What ``pip config list`` printed: the value of each setting."""
    found: dict[str, dict[str, str]] = {
        'global': {},
        'install': {},
        ':env:': {},
    }
    for line in listing.splitlines():
        name, _, value = line.partition('=')
        section, _, key = name.rpartition('.')
        if section in found and value[:1] in ('"', "'"):
            found[section][key] = str(ast.literal_eval(value))
    # in this order: what the environment says wins
    return {k: v for part in found.values() for k, v in part.items()}


def uv_environment(
    settings: Mapping[str, str], environment: Mapping[str, str]
) -> dict[str, str]:
    """The variables for uv, which does not read pip's settings.

    A variable that is set already stays.
    """
    ours = {
        variable: ','.join(settings[key].split())
        if key in LISTS
        else settings[key]
        for key, variable in KNOWN_TO_UV.items()
        if settings.get(key)
    }
    # of several indexes the best version counts, as it does for pip
    ours |= dict(UV_INDEX_STRATEGY='unsafe-best-match', UV_HTTP_TIMEOUT='300')
    return {**ours, **environment}


def sees_others() -> bool:
    """Whether this environment also uses the packages outside of it.

    As in an image that has its own torch. pip leaves such packages as they
    are; uv does not see them and would install others over them.
    """
    settings = Path(sys.prefix, 'pyvenv.cfg')
    text = settings.read_text() if settings.is_file() else ''
    return bool(
        re.search(r'^include-system-site-packages\s*=\s*true', text, re.M)
    )


def with_uv(wanted: Sequence[str]) -> bool:
    """Install with uv; whether that worked."""
    got = subprocess.run([*PIP, 'install', '-q', '--only-binary=uv', 'uv'])
    if got.returncode:
        return False
    listing = subprocess.run(
        [*PIP, 'config', 'list'], capture_output=True, text=True
    ).stdout
    sources = [*FROM_SOURCE, 'luminet-mm']
    return not subprocess.run(
        [
            *UV,
            'pip',
            'install',
            f'--python={sys.executable}',
            # as pip does; else each first import of a container compiles
            # torch and all else again, and all imports if
            # PYTHONDONTWRITEBYTECODE is set
            '--compile-bytecode',
            '--only-binary=:all:',
            *(f'--no-binary={name}' for name in sources),
            *wanted,
        ],
        env=uv_environment(pip_settings(listing), os.environ),
    ).returncode


def with_pip(wanted: Sequence[str]) -> bool:
    """Install with pip; whether that worked."""
    install = [
        *PIP,
        'install',
        '--disable-pip-version-check',
        '--only-binary=:all:',
        f'--no-binary={",".join(FROM_SOURCE)}',
    ]
    return all(
        not subprocess.run([*install, *words]).returncode
        for words in (['--upgrade', 'pip>=24'], wanted)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Install; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--installer',
        choices=['uv', 'pip'],
        default='uv',
        help='uv, or pip where uv cannot be had or the environment uses '
        'packages from outside (%(default)s)',
    )
    args, wanted = parser.parse_known_args(arguments)
    if args.installer == 'uv' and not sees_others():
        if with_uv(wanted):
            return 0
        print('uv did not install it; pip tries', file=sys.stderr, flush=True)
    return 0 if with_pip(wanted) else 1


if __name__ == '__main__':
    raise SystemExit(main())
