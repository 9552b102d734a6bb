"""Every source file has its test file, and every loss its contract.

``luminet_mm/a/b.py`` is tested by ``tests/a/test_b.py``, and a large subject
by more files beside it, ``tests/a/test_b_<part>.py``. Scripts in ``tools``
have theirs in ``tests/tools``; helpers of the tests lie in ``tests`` itself.
"""

import ast
from pathlib import Path

from luminet_mm import losses

ROOT = Path(__file__).parents[1]
TESTS = ROOT / 'tests'


def files(folder, *patterns):
    """Paths without suffix, from the folder on."""
    return {
        str(path.relative_to(folder).with_suffix(''))
        for pattern in patterns
        for path in folder.rglob(pattern)
        if path.stem not in ('__init__', 'conftest')
    }


PACKAGE = files(ROOT / 'luminet_mm', '*.py')
TEST_FILES = files(TESTS, 'test_*.py')
HELPERS = files(TESTS, '*.py') - TEST_FILES
SCRIPTS = {f'tools/{each}' for each in files(ROOT / 'tools', '*.py', '*.sh')}

# Tests of more than one file, or of what is no Python file, and of what.
CROSS_CUTTING = {
    'configs/': 'the configs of this folder, of several folders each',
    'distillers/test_chain': 'two distillers, one after the other',
    'losses/test_without_openmmlab': 'docs/losses-without-openmmlab.md',
    'ops/test_mmdet_tests': "MMDetection's own tests on all operators",
    'ops/test_detectors': "MMDetection's models on all operators",
    'preflight/test_fuzz': 'the whole check, with configs made at random',
    'test_citation': 'CITATION.cff',
    'test_compare': 'docs/compare.md',
    'test_daily_work': 'docs/daily-work.md',
    'test_device': 'what trains, on a device that is not the CPU',
    'test_docker': 'docker/',
    'test_docs': 'docs/ and the README',
    'test_doctests': 'the docstrings of all modules',
    'test_layers': 'the imports of all modules',
    'test_mirror': 'the tree',
    'test_packaging': 'pyproject.toml and the wheel',
    'test_readme_claims': 'the results of the README',
    'test_reliability': 'docs/reliability.md',
    'test_reproduce': 'docs/reproduce.md',
    'test_results': 'docs/results.md and the logs',
    'test_site': 'mkdocs.yml and docs/hooks/',
    'test_step': 'a training step of either family',
    'test_tutorial': 'docs/tutorial.md',
    'tools/test_hostile_files': 'every tool that reads a file',
    'tools/test_not_finite': 'tools/train.py on a run that diverges',
    'tools/test_pure_python': 'tools/train.py and tools/test.py',
    'tools/test_start_up': 'every tool: what a usage text imports',
    'tools/test_resume': 'tools/train.py, killed and resumed',
}


def is_test_of(test, source):
    test, source = Path(test), Path(source)
    name = f'test_{source.name}'
    return test.parent == source.parent and (
        test.name == name or test.name.startswith(f'{name}_')
    )


def test_every_source_has_its_test():
    wrong = []
    for source in sorted(PACKAGE):
        tests = [each for each in TEST_FILES if is_test_of(each, source)]
        folder, _, name = source.rpartition('/')
        if not tests:
            wrong.append(f'luminet_mm/{source}.py: tests/{folder}/test_{name}')
        for each in tests:
            text = (TESTS / f'{each}.py').read_text('utf-8')
            if 'def test_' not in text and 'Contract)' not in text:
                wrong.append(f'{each} tests nothing')
    assert len(PACKAGE) > 300 and not wrong


def test_every_test_has_its_source():
    """Name it after one, or add it to CROSS_CUTTING with what it is about."""
    sources = PACKAGE | SCRIPTS | HELPERS
    assert not [
        test
        for test in sorted(TEST_FILES)
        if not test.startswith(tuple(CROSS_CUTTING))
        and not any(is_test_of(test, each) for each in sources)
    ]


def test_exceptions_are_needed():
    for name in CROSS_CUTTING:
        assert any(each.startswith(name) for each in TEST_FILES), name


def test_a_name_is_that_of_one_file():
    assert is_test_of('a/test_b', 'a/b')
    assert is_test_of('a/test_b_c', 'a/b')
    assert not is_test_of('a/test_bc', 'a/b')
    assert not is_test_of('test_b', 'a/b')


# -- losses -----------------------------------------------------------------

BASES = (
    losses.DistillLoss,
    losses.LogitLoss,
    losses.FeatureLoss,
    losses.DenseLoss,
    losses.QueryLoss,
)
LOSSES = {
    name: loss
    for name in losses.__all__
    if isinstance(loss := getattr(losses, name), type)
    and issubclass(loss, losses.DistillLoss)
    and loss not in BASES
}
WITHOUT_CONTRACT = {
    'RoIBoxLoss': 'it compares scores and boxes of RoIs together',
    'MaskKDLoss': 'its rows are masks, and its file promises the same',
    'FCFDRoILoss': "it runs two detectors' RoI heads, so it is tested on them",
}


def names_of(nodes):
    return {each.id for each in nodes if isinstance(each, ast.Name)}


def under_contract(file):
    """Names of the losses that a test file has a contract for."""
    classes = [
        node
        for node in ast.parse(file.read_text('utf-8')).body
        if isinstance(node, ast.ClassDef)
    ]
    bases = {each.name: names_of(each.bases) for each in classes}
    known = {'LogitContract', 'FeatureContract', 'DenseContract'}
    known |= {'QueryContract'}
    found = set()
    for node in classes:  # a contract, or one that derives from it
        if bases[node.name] & known:
            known.add(node.name)
            for line in node.body:
                if isinstance(line, ast.Assign) and (
                    names_of(line.targets) == {'loss'}
                ):
                    found |= names_of([line.value])
    return found | {base for name in found for base in bases.get(name, ())}


def test_every_loss_keeps_its_contract():
    """A new loss gets all tests of its kind by a class of a few lines."""
    for name, loss in LOSSES.items():
        module = loss.__module__.removeprefix('luminet_mm.')
        folder, _, file = module.rpartition('.')
        path = TESTS / folder / f'test_{file}.py'
        kept = name in under_contract(path)
        assert kept != (name in WITHOUT_CONTRACT), (
            f'{path.name}: class Test…(LogitContract, FeatureContract, '
            'DenseContract or QueryContract) with '
            f'loss = {name} is missing'
        )
