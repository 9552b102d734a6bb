"""The documents name what exists, and their examples run."""

import ast
import functools
import os
import re
from pathlib import Path

import pytest
import tiny
import tiny_dense
import tiny_detr
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS

import luminet_mm.losses
from luminet_mm.losses import DistillLoss
from luminet_mm.preflight import check_config
from luminet_mm.registry import (
    DATA_SAMPLERS,
    DATASETS,
    OPTIM_WRAPPERS,
    SCOPE,
    TRANSFORMS,
)
from luminet_mm.registry import HOOKS as OUR_HOOKS
from luminet_mm.registry import MODELS as OUR_MODELS
from luminet_mm.signals.detr import DETRFamily
from luminet_mm.signals.one_stage import OneStage
from luminet_mm.signals.two_stage import TwoStage
from luminet_mm.stock import stock_config
from luminet_mm.version import PYTHON, SUPPORTED, __version__

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob('*.md'), *ROOT.glob('docs/*.md'))
)
each_page = pytest.mark.parametrize('page', PAGES)


@functools.cache
def read(page):
    return (ROOT / page).read_text(encoding='utf-8')


def section(page, heading):
    """The text below a heading, up to the next of its level."""
    mark = '#' * heading.count('#')
    match = re.search(
        rf'^{re.escape(heading)}\n(.*?)(?=^{mark} |\Z)',
        read(page),
        re.M | re.S,
    )
    assert match, f'{page} has no {heading!r}'
    return match[1]


def blocks(text, language):
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.M | re.S)


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r'^#+ (.+)$', read(page), re.M)
    return {
        re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
        for heading in headings
    }


def test_all_pages_are_there():
    needed = ['README', 'CHANGELOG', 'CONTRIBUTING']
    needed += [
        f'docs/{name}'
        for name in ('design', 'losses', 'configs', 'results', 'faults')
    ]
    assert {f'{name}.md' for name in needed} <= set(PAGES)


# -- what the pages name ----------------------------------------------------


@each_page
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', read(page)):
        if re.match(r'[a-z]+:', target):
            continue
        path, _, anchor = target.partition('#')
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.is_file(), target
        if anchor:
            name = file.resolve().relative_to(ROOT).as_posix()
            assert anchor in anchors(name), target


@each_page
def test_named_files_exist(page):
    text = read(page)
    # Files that an example tells the reader to write.
    own = set(re.findall(r'^```python\n# (\S+)$', text, re.M))
    named = re.findall(
        r'(?<![\w/.-])((?:\.ci|configs|docker|docs|luminet_mm|tests|tools|'
        r'weights)/[\w./-]*\w)(?![\w<*{-])',
        text,
    )
    for name in named:
        assert (ROOT / name).exists() or name in own, name


@each_page
def test_named_make_targets_and_variables_exist(page):
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    for target, rest in re.findall(
        r'(?:^|`)make ([a-z-]+)([^`#\n]*)', read(page), re.M
    ):
        assert re.search(rf'^{target}:', makefile, re.M), target
        for variable in re.findall(r'(\w+)=', rest):
            assert re.search(rf'^{variable} \?=', makefile, re.M), variable


@each_page
def test_flags_and_variables_of_the_tools_exist(page):
    shared = ROOT / 'luminet_mm/launch/command_line.py'
    launch = shared.read_text(encoding='utf-8')
    text = read(page).replace('\\\n', ' ')
    for before, tool, after in re.findall(
        r'((?:\b[A-Z_]+=\S+ +)*)(?:python )?'
        r'((?<!tests/)(?<!\w)tools/\w+\.(?:py|sh))([^`#\n]*)',
        text,
    ):
        path = ROOT / tool
        source = path.read_text(encoding='utf-8')
        for variable in re.findall(r'([A-Z_]+)=', before):
            assert f'${{{variable}:-' in source, (tool, variable)
        if path.suffix == '.sh':
            assert os.access(path, os.X_OK), tool
            inner = 'test.py' if 'test' in tool else 'train.py'
            source = (ROOT / 'tools' / inner).read_text(encoding='utf-8')
        for module in re.findall(r'from luminet_mm\.(\w+)\.__main__', source):
            thin = ROOT / 'luminet_mm' / module / '__main__.py'
            source += thin.read_text(encoding='utf-8')
        for flag in re.findall(r'(?<!\S)(--[a-z-]+)', after):
            assert f"'{flag}'" in source + launch, (tool, flag)


def test_flags_that_the_readme_lists_exist():
    sources = ''.join(
        (ROOT / name).read_text(encoding='utf-8')
        for name in ('luminet_mm/launch/command_line.py', 'tools/train.py')
    )
    text = section('README.md', '## Several GPUs, several machines')
    flags = re.findall(r'`(--[a-z-]+)`', text)
    assert flags
    for flag in flags:
        assert f"'{flag}'" in sources, flag


def test_docker_commands():
    text = section('README.md', '## Docker')
    dockerfile = (ROOT / 'docker/Dockerfile').read_text(encoding='utf-8')
    assert 'docker build -t luminet_mm -f docker/Dockerfile .' in text
    assert '--shm-size=8g' in text and '--gpus all' in text
    for argument in re.findall(r'--build-arg (\w+)=', text):
        assert f'\nARG {argument}=' in dockerfile
    (folder,) = re.findall(r'-v DATA:(\S+)', text)
    assert f'VOLUME ["{folder}"]' in dockerfile
    compose = (ROOT / 'docker/compose.yaml').read_text(encoding='utf-8')
    services = re.findall(r'compose\.yaml run (\w+)', text)
    assert set(services) == {'train', 'test'}
    for service in services:
        assert f'\n  {service}:\n' in compose
    assert '${DATA:-' in compose


def _registered(registry):
    registry.import_from_location()
    return registry.module_dict


@each_page
def test_types_of_this_package_exist(page):
    modules = {path.stem for path in (ROOT / 'luminet_mm').rglob('*.py')}
    modules |= {path.name for path in (ROOT / 'luminet_mm').iterdir()}
    ours = {
        name
        for registry in (
            OUR_MODELS,
            OUR_HOOKS,
            OPTIM_WRAPPERS,
            DATA_SAMPLERS,
            DATASETS,
            TRANSFORMS,
        )
        for name in _registered(registry)
    }
    for name in re.findall(r'\bluminet_mm\.(\w+)', read(page)):
        assert name in ours | modules, name


@each_page
def test_no_path_of_a_machine_and_nothing_left_open(page):
    text = read(page)
    assert not re.search(r'(?<![\w.])/(work|root|tmp|home|Users)/', text)
    assert not re.search(r'\b(TODO|FIXME|XXX)\b', text)


# -- README -----------------------------------------------------------------


def test_two_minutes_of_the_readme():
    """What it is, a picture, two commands, the example, results."""
    text = read('README.md')
    first = blocks(text, 'bash')[0]
    assert re.findall(r'^make (\w+)', first, re.M) == ['quickstart', 'test']
    order = [
        text.index('!['),
        text.index(first),
        text.index('## Distil your own detector'),
        text.index('## Results'),
    ]
    assert order == sorted(order)
    assert len(text[: text.index('## Results')].splitlines()) < 60


def test_result_table_has_its_place():
    (text,) = re.findall(
        r'<!-- results -->\n(.*?)<!-- /results -->', read('README.md'), re.S
    )
    assert '(docs/results.md)' in text


def test_versions_are_those_that_are_checked():
    rows = re.findall(
        r'^\| `([\w-]+)` \| `(\S+)` \| (\S+) \|$',
        section('README.md', '## Versions that work'),
        re.M,
    )
    assert rows == [
        (row.package, row.requirement.removeprefix(row.package), row.newest)
        for row in (PYTHON, *SUPPORTED)
    ]


@pytest.fixture
def own_detector(tmp_path, monkeypatch):
    """The files that README's example expects, and the example."""
    monkeypatch.chdir(tmp_path)
    (example,) = blocks(
        section('README.md', '## Distil your own detector'), 'python'
    )
    stock = dict(default_scope='mmdet')
    teacher = tiny.detector(width=12)
    for name, model in (
        ('my_student', tiny.detector()),
        ('my_teacher', teacher),
    ):
        Config(dict(stock, model=model)).dump(f'{name}.py')
    torch.save(tiny.build(teacher).state_dict(), 'my_teacher.pth')
    Path('my_distillation.py').write_text(example)
    return Config.fromfile('my_distillation.py'), example


def test_own_detector_takes_ten_lines_and_distils(own_detector):
    cfg, example = own_detector
    assert len(example.splitlines()) == 10
    check_config(cfg)
    model = tiny.build(cfg.model)
    data = tiny.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_luminet'] > 0
    assert {'loss_cls', 'loss_bbox', 'loss_rpn_cls'} <= set(losses)
    weights = torch.load('my_teacher.pth', weights_only=True)
    for key, value in model.teacher.model.roi_head.state_dict().items():
        assert torch.equal(value, weights[f'roi_head.{key}'])
    schedule = [HOOKS.build(hook) for hook in cfg.custom_hooks][1].schedules
    assert set(schedule) == set(cfg.model.distill)


def test_own_detector_is_tested_without_its_teacher(own_detector):
    cfg, _ = own_detector
    Path('my_teacher.pth').unlink()
    Path('my_teacher.py').unlink()
    student = Config.fromfile('my_student.py')
    stock = MODELS.build(stock_config(cfg).model)
    assert (
        stock.state_dict().keys()
        == tiny.build(student.model).state_dict().keys()
    )


# -- CONTRIBUTING, CHANGELOG ------------------------------------------------


def test_the_example_of_a_new_method_is_a_whole_one():
    (source,) = blocks(section('CONTRIBUTING.md', '## A new method'), 'python')
    space = dict(__name__='luminet_mm.losses.logit_mse')
    try:
        exec(compile(source, 'CONTRIBUTING.md', 'exec'), space)
        loss = MODELS.build(
            dict(type=f'{SCOPE}.LogitMSELoss', loss_weight=2.0)
        )
    finally:
        OUR_MODELS.module_dict.pop('LogitMSELoss', None)
    student = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    value = loss(student, teacher)
    assert value.item() == 2 * (4 + 2) / 2
    value.backward()
    assert student.grad.abs().sum() > 0
    assert loss(student[:0], teacher[:0]).item() == 0


def test_changelog_keeps_its_form():
    """Keep a Changelog 1.1.0; the newest version is this one, and dated."""
    text = read('CHANGELOG.md')
    unreleased, *versions = re.findall(r'^## (.+)$', text, re.M)
    assert unreleased == '[Unreleased]'
    assert versions[0].split(' - ')[0] == f'[{__version__}]'
    for version in versions:
        assert re.fullmatch(r'\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d', version)
    for part in re.split(r'^## ', text, flags=re.M)[1:]:
        kinds = re.findall(r'^### (.+)$', part, re.M)
        order = 'Added Changed Deprecated Removed Fixed Security'.split()
        assert kinds == [kind for kind in order if kind in kinds]


def test_changelog_names_every_tool():
    text = read('CHANGELOG.md')
    for tool in (ROOT / 'tools').iterdir():
        if tool.suffix in ('.py', '.sh'):
            assert f'`{tool.name}`' in text, tool.name


# -- docs -------------------------------------------------------------------


def test_every_loss_has_its_row():
    classes = {
        name
        for name in luminet_mm.losses.__all__
        if isinstance(getattr(luminet_mm.losses, name), type)
        and issubclass(getattr(luminet_mm.losses, name), DistillLoss)
    } - {'DistillLoss', 'LogitLoss', 'FeatureLoss', 'DenseLoss', 'QueryLoss'}
    rows = re.findall(
        r'^\|[^|\n]+\| `(\w+Loss)` \|', read('docs/losses.md'), re.M
    )
    assert sorted(rows) == sorted(classes)
    assert classes <= set(OUR_MODELS.module_dict)


def test_every_signal_is_in_the_table():
    text = section('docs/design.md', '## Signals')
    listed = {
        name
        for row in re.findall(r'^\| (`.+?) \|', text, re.M)
        for name in re.findall(r'`([\w.]+)`', row)
    }
    two_stage = TwoStage().names(tiny.build(tiny.detector('mask')))
    one_stage = OneStage().names(tiny.build(tiny_dense.detector('fcos')))
    detr = DETRFamily().names(tiny_detr.build(tiny_detr.detector('dino')))
    assert listed == {*two_stage, *one_stage, *detr}


@functools.cache
def _messages():
    """Every string of the package and its tools, … where a value stands."""
    found = []
    files = [*ROOT.glob('luminet_mm/**/*.py'), *ROOT.glob('tools/*.py')]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    ''.join(
                        part.value if isinstance(part, ast.Constant) else '…'
                        for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(
                node.value, str
            ):
                found.append(node.value)
    return found


def _quoted_messages():
    for row in re.findall(r'^\| (.+?) \|', read('docs/faults.md'), re.M):
        yield from re.findall(r'`([^`]*…[^`]*)`', row)


def _says(text, pieces):
    """Whether pieces stand in a text, one behind the other."""
    end = 0
    for piece in pieces:
        start = text.find(piece, end)
        if start < 0:
            return False
        end = start + len(piece)
    return True


def test_quoted_messages_are_the_packages_own():
    quoted = list(_quoted_messages())
    assert len(quoted) > 200
    assert not [
        message
        for message in quoted
        if not any(_says(text, message.split('…')) for text in _messages())
    ]


def test_faults_cover_what_the_operators_leave_out():
    text = section('docs/faults.md', '## `mmcv.ops` served by torchvision')
    for word in ('RoIPool', "pool_mode='max'", 'focal', 'dcn_offset_lr_mult'):
        assert word in text
