"""The image cannot be built here: check that what it uses exists."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / 'docker/Dockerfile'


def instructions():
    """Yield (instruction, arguments), with continued lines joined."""
    text = DOCKERFILE.read_text(encoding='utf-8')
    lines = [line for line in text.splitlines() if not line.startswith('#')]
    for line in '\n'.join(lines).replace('\\\n', ' ').splitlines():
        if line.strip():
            yield tuple(line.strip().split(maxsplit=1))


def of_kind(kind):
    return [rest for name, rest in instructions() if name == kind]


def test_base_image_follows_the_build_arguments():
    defaults = dict(arg.split('=') for arg in of_kind('ARG'))
    assert list(defaults) == ['PYTORCH', 'CUDA', 'CUDNN']
    (image,) = of_kind('FROM')
    for name, value in defaults.items():
        image = image.replace(f'${{{name}}}', value.strip('"'))
    assert re.fullmatch(
        r'pytorch/pytorch:\d+\.\d+\.\d+-cuda\d+\.\d+-cudnn\d+-runtime', image
    )


def test_copied_files_exist_and_are_not_ignored():
    ignored = (ROOT / '.dockerignore').read_text(encoding='utf-8').split('\n')
    sources = [
        source for rest in of_kind('COPY') for source in shlex.split(rest)[:-1]
    ]
    assert '.' in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source not in ignored


def test_install_is_the_makefiles():
    install = [
        rest
        for rest in of_kind('RUN')
        if 'make' in rest.split() and 'apt-get' not in rest
    ]
    assert len(install) == 1
    words = shlex.split(install[0])
    assert words[:2] == ['make', 'install']
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    assert re.search(r'^install:', makefile, re.M)
    for word in words[2:]:
        name, _ = word.split('=', 1)
        assert re.search(rf'^{name} \?=', makefile, re.M), name
    # `?=` in the Makefile lets the image's variable through.
    assert 'VENV=/opt/venv' in ' '.join(of_kind('ENV'))
    assert re.search(r'^VENV \?=', makefile, re.M)
    assert not [rest for rest in of_kind('RUN') if 'pip install' in rest]


def test_install_layer_holds_what_the_build_reads():
    """The first COPYs have to be enough for `make install`."""
    before = []
    for name, rest in instructions():
        if name == 'COPY':
            before += shlex.split(rest)[:-1]
        if name == 'RUN' and 'make install' in rest:
            break
    needed = {
        'setup.py',
        'pyproject.toml',
        'Makefile',
        'README.md',
        'LICENSE',
        'luminet_mm/version.py',
        'luminet_mm/__init__.py',
    }
    assert needed <= set(before)


def test_work_dir_and_data():
    assert of_kind('WORKDIR') == ['/luminet_mm']
    assert of_kind('VOLUME') == ['["/luminet_mm/data"]']


@pytest.fixture(scope='module')
def compose():
    return yaml.safe_load(
        (ROOT / 'docker/compose.yaml').read_text(encoding='utf-8')
    )


@pytest.mark.parametrize('name', ['train', 'test'])
def test_compose_service(compose, name):
    service = compose['services'][name]
    build = service['build']
    assert (ROOT / 'docker' / build['context']).resolve() == ROOT
    assert (ROOT / build['dockerfile']).is_file()
    assert set(build['args']) == {'PYTORCH', 'CUDA', 'CUDNN'}
    shell, script = service['entrypoint']
    assert shell == 'bash' and (ROOT / script).is_file()
    assert (ROOT / service['command'][0]).is_file()
    assert any(v.endswith(':/luminet_mm/data') for v in service['volumes'])
    assert 'XDG_CACHE_HOME=/cache' in ' '.join(of_kind('ENV'))
    assert 'cache:/cache' in service['volumes']
    assert service['shm_size'] == '8g'
    (device,) = service['deploy']['resources']['reservations']['devices']
    assert device['capabilities'] == ['gpu'] and device['count'] == 'all'


def test_compose_has_the_dockerfiles_defaults(compose):
    defaults = dict(arg.split('=') for arg in of_kind('ARG'))
    for name, value in compose['services']['train']['build']['args'].items():
        assert value == f'${{{name}:-{defaults[name].strip(chr(34))}}}'
