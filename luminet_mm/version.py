"""The package's version, and the versions of its dependencies that work."""

import platform
import re
import warnings
from importlib import metadata
from typing import NamedTuple

__version__ = '0.2.0'


class Supported(NamedTuple):
    """One row of the table of versions.

    Attributes:
        package: Distribution name, as pip knows it.
        minimum: The oldest release that works.
        below: The first release that does not, or '' if none is known.
        newest: The newest release series that was tried; a newer one
            gets a warning, not an error.
        why: What goes wrong outside the range.
        replaces: Distributions with the same import name.
    """

    package: str
    minimum: str
    below: str
    newest: str
    why: str
    replaces: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """The range as a pip requirement."""
        upper = f',<{self.below}' if self.below else ''
        return f'{self.package}>={self.minimum}{upper}'


UPSTREAM = "upstream's last release does not run on today's torch"

SUPPORTED = (
    Supported(
        'torch',
        '2.6',
        '',
        '2.15',
        'before 2.6, torch.load(weights_only=True) can run code from a '
        'hostile checkpoint (CVE-2025-32434)',
    ),
    Supported(
        'torchvision',
        '0.21',
        '',
        '0.29',
        'it must be made for the installed torch, and 0.21 is the one for '
        'torch 2.6',
    ),
    Supported(
        'onedl-mmengine',
        '0.10.12',
        '1.0',
        '0.10',
        f'0.10.11 is broken, onedl-mmpretrain refuses 1.0, and {UPSTREAM}: '
        'resuming raises UnpicklingError',
        ('mmengine', 'mmengine-lite'),
    ),
    Supported(
        'onedl-mmcv',
        '2.3.0',
        '2.4',
        '2.3',
        f'onedl-mmpretrain refuses 2.4, and {UPSTREAM}',
        ('mmcv', 'mmcv-full', 'mmcv-lite'),
    ),
    Supported(
        'onedl-mmdetection',
        '3.4.0',
        '',
        '3.5',
        f'older ones have not been tried, and {UPSTREAM}: it refuses mmcv '
        '2.2 and newer',
        ('mmdet',),
    ),
    Supported(
        'onedl-mmpretrain',
        '1.3.0',
        '',
        '1.3',
        f'older ones have not been tried, and {UPSTREAM}',
        ('mmpretrain',),
    ),
)
PYTHON = Supported(
    'python',
    '3.10',
    '',
    '3.13',
    'the OpenMMLab forks need 3.10, and declare themselves up to 3.12',
)


def _release(version: str, length: int | None = None) -> tuple[int, ...]:
    """The leading numbers of a version: '2.15.0+cu132' is (2, 15, 0)."""
    numbers = re.match(r'\d+(?:\.\d+)*', version)
    release = tuple(int(n) for n in numbers[0].split('.')) if numbers else ()
    return release[:length]


def _is_older(version: str, bound: str) -> bool:
    """Compare releases; '0.10' and '0.10.0' are the same."""
    left, right = _release(version), _release(bound)
    width = max(len(left), len(right))
    return left + (0,) * (width - len(left)) < right + (0,) * (
        width - len(right)
    )


def _fits(row: Supported, version: str) -> bool:
    return not _is_older(version, row.minimum) and not (
        row.below and not _is_older(version, row.below)
    )


def _providers(row: Supported, installed: dict[str, str]) -> list[str]:
    """Distributions that provide the package, under any name.

    Compiled builds of a fork are published as, say,
    'onedl-mmcv-cu128-torch2-8'; 'torch-geometric' is another package.
    """
    build = re.compile(rf'{row.package}(-(cpu|(cu|rocm|torch)\d).*)?')
    return [name for name in installed if build.fullmatch(name)]


def find_problems(installed: dict[str, str]) -> list[str]:
    """List the installed packages that cannot work.

    Args:
        installed: Versions by normalised distribution name;
            the interpreter's under 'python'.

    Returns:
        One line per problem: what was found, what is needed, why,
        and the command that fixes it. Empty if all is well.
    """
    problems = []
    python = installed.get('python', '')
    if python and not _fits(PYTHON, python):
        problems.append(
            f'python {python} runs this, {PYTHON.requirement} is needed '
            f'({PYTHON.why}). Make a new environment, e.g.: '
            'python3.12 -m venv .venv'
        )
    for row in SUPPORTED:
        providers = _providers(row, installed)
        others = [name for name in row.replaces if name in installed]
        found = ' and '.join(
            f'{name} {installed[name]}' for name in providers + others
        )
        install = f"pip install '{row.requirement}'"
        if len(providers + others) > 1:
            problems.append(
                f'{found} are installed together: they have the same import '
                "name and have overwritten each other's files. Mend it with: "
                f'pip uninstall -y {" ".join(providers + others)} && '
                f'{install}'
            )
        elif others:
            problems.append(
                f'{found} is installed, {row.requirement} is '
                f'needed ({row.why}). Mend it with: '
                f'pip uninstall -y {others[0]} && {install}'
            )
        elif not providers:
            problems.append(
                f'{row.package} is not installed, '
                f'{row.requirement} is needed. Mend it with: '
                f'{install}'
            )
        elif not _fits(row, installed[providers[0]]):
            problems.append(
                f'{found} is installed, {row.requirement} is '
                f'needed ({row.why}). Mend it with: {install}'
            )
    return problems


def find_untested(installed: dict[str, str]) -> list[str]:
    """List the packages that are newer than any version that was tried.

    Args:
        installed: As for :func:`find_problems`.

    Returns:
        One phrase per package in range but newer than tried.
    """
    untested = []
    for row in (PYTHON, *SUPPORTED):
        names = [row.package] if row is PYTHON else _providers(row, installed)
        for name in names:
            version = installed.get(name, '')
            series = _release(row.newest)
            if (
                version
                and _fits(row, version)
                and _release(version, len(series)) > series
            ):
                untested.append(
                    f'{name} {version} (newest tried: {row.newest})'
                )
    return untested


def installed_versions() -> dict[str, str]:
    """Versions of all installed distributions, and of Python."""
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata['Name']
        if name:  # the remains of a broken uninstall have none
            # The first on the path is the one that is imported.
            versions.setdefault(
                re.sub('[-_.]+', '-', name).lower(), distribution.version
            )
    versions['python'] = platform.python_version()
    return versions


def check_versions() -> None:
    """Check what is installed, without importing any of it.

    Raises:
        ImportError: Something cannot work; the message lists everything.
    """
    installed = installed_versions()
    problems = find_problems(installed)
    if problems:
        raise ImportError(
            f'luminet_mm {__version__} cannot work with what is installed:'
            + ''.join(f'\n- {problem}' for problem in problems)
        )
    untested = find_untested(installed)
    if untested:
        warnings.warn(
            f'luminet_mm {__version__} has not been tried with '
            f'{", ".join(untested)}. Nothing is known to break.',
            stacklevel=2,
        )
