"""The image cannot be built here: check that what it uses exists."""

import os
import re
import shlex
import subprocess
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
        'tools/install.py',
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


# -- Kubernetes -------------------------------------------------------------


def manifest(name):
    return yaml.safe_load((ROOT / 'docker' / name).read_text(encoding='utf-8'))


def pods(kind):
    """Each kind of pod of a manifest with the number of such pods.

    Also what the controller sets in its pods, with a value of each.
    """
    if kind == 'pytorchjob':
        replicas = manifest('pytorchjob.yaml')['spec']['pytorchReplicaSpecs']
        given = dict(RANK='1', MASTER_ADDR='luminet-master-0')
        given['MASTER_PORT'] = '29500'
        return given, [
            (each['template']['spec'], each['replicas'])
            for each in replicas.values()
        ]
    (job,) = manifest('jobset.yaml')['spec']['replicatedJobs']
    spec = job['template']['spec']
    assert spec['completionMode'] == 'Indexed'
    assert spec['parallelism'] == spec['completions']
    given = dict(JOB_COMPLETION_INDEX='1')
    return given, [
        (spec['template']['spec'], job['replicas'] * spec['parallelism'])
    ]


each_kind = pytest.mark.parametrize('kind', ['pytorchjob', 'jobset'])


@each_kind
def test_a_pod_starts_torchrun_as_one_of_the_nodes(kind, tmp_path):
    """Run the container's command, with a torchrun that prints its words."""
    given, all_pods = pods(kind)
    nodes = sum(number for _, number in all_pods)
    echo = tmp_path / 'echo'
    echo.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    echo.chmod(0o755)
    for pod, _ in all_pods:
        (container,) = pod['containers']
        assert container['workingDir'] == of_kind('WORKDIR')[0]
        env = {item['name']: item['value'] for item in container['env']}
        assert env['NNODES'] == str(nodes)
        assert not set(env) & set(given)
        lines = subprocess.run(
            [*container['command'], *container['args']],
            cwd=ROOT,
            env=dict(
                PATH=os.environ['PATH'], PYTHON=str(echo), **env, **given
            ),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        address = {**env, **given}['MASTER_ADDR']
        gpus = container['resources']['limits']['nvidia.com/gpu']
        assert lines[2:7] == [
            f'--nnodes={nodes}',
            '--node_rank=1',
            f'--master_addr={address}',
            '--master_port=29500',
            f'--nproc_per_node={gpus}',
        ]
        config, *flags = lines[8:]
        assert (ROOT / config).is_file()
        assert f'_{nodes * gpus}xb' in config
        assert flags == ['--launcher', 'pytorch', '--resume']
        assert container['ports'][0]['containerPort'] == 29500


@each_kind
def test_a_pod_has_what_a_container_needs(kind):
    _, all_pods = pods(kind)
    for pod, _ in all_pods:
        (container,) = pod['containers']
        volumes = {item['name']: item for item in pod['volumes']}
        mounts = {
            item['mountPath']: volumes[item['name']]
            for item in container['volumeMounts']
        }
        assert len(mounts) == len(volumes)
        assert mounts['/dev/shm']['emptyDir']['medium'] == 'Memory'
        assert mounts['/dev/shm']['emptyDir']['sizeLimit'] == '8Gi'
        # The places that the image and the configs use.
        (data,) = [rest.strip('[]"') for rest in of_kind('VOLUME')]
        claims = [
            mounts[path]['persistentVolumeClaim']['claimName']
            for path in (data, '/luminet_mm/work_dirs')
        ]
        assert len(set(claims)) == 2
        assert 'XDG_CACHE_HOME=/cache' in ' '.join(of_kind('ENV'))
        assert 'emptyDir' in mounts['/cache']


def test_a_pytorchjob_is_what_its_operator_expects():
    job = manifest('pytorchjob.yaml')
    assert (job['apiVersion'], job['kind']) == (
        'kubeflow.org/v1',
        'PyTorchJob',
    )
    replicas = job['spec']['pytorchReplicaSpecs']
    assert set(replicas) == {'Master', 'Worker'}
    assert replicas['Master']['replicas'] == 1
    for each in replicas.values():
        # A container that failed is started again and resumes.
        assert each['restartPolicy'] == 'OnFailure'
        (container,) = each['template']['spec']['containers']
        assert container['name'] == 'pytorch'
        assert container['ports'][0]['name'] == 'pytorchjob-port'
    assert job['spec']['runPolicy']['backoffLimit'] > 0


def test_a_jobset_starts_all_nodes_anew():
    job = manifest('jobset.yaml')
    assert job['apiVersion'].startswith('jobset.x-k8s.io/')
    assert job['spec']['failurePolicy']['maxRestarts'] > 0
    (nodes,) = job['spec']['replicatedJobs']
    spec = nodes['template']['spec']
    assert spec['backoffLimit'] == 0
    pod = spec['template']['spec']
    assert pod['restartPolicy'] == 'Never'
    env = {e['name']: e['value'] for e in pod['containers'][0]['env']}
    name = job['metadata']['name']
    assert env['MASTER_ADDR'] == f'{name}-{nodes["name"]}-0-0.{name}'
