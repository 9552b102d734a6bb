"""The examples in docstrings run, and every public loss has one."""

import ast
import doctest
import importlib
import inspect
import io
import re
from pathlib import Path

import pytest
import torch

from luminet_mm import losses

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / 'luminet_mm').rglob('*.py'))
WITH_EXAMPLES = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in SOURCES
    if '>>>' in path.read_text('utf-8')
]
PUBLIC = [getattr(losses, name) for name in losses.__all__]


@pytest.mark.parametrize('name', WITH_EXAMPLES)
def test_examples_run(name):
    """Each docstring's alone, in a module's names and with a fixed seed."""
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said = io.StringIO()
    for example in doctest.DocTestFinder().find(module, name):
        torch.manual_seed(0)
        runner.run(example, out=said.write)
    assert runner.summarize(verbose=False).attempted
    assert not runner.failures, said.getvalue()


@pytest.mark.parametrize('thing', PUBLIC, ids=lambda thing: thing.__name__)
def test_every_public_loss_has_an_example_that_shows_something(thing):
    doc = inspect.getdoc(thing)
    examples = doctest.DocTestParser().get_examples(doc)
    assert examples, f'{thing.__name__} has no example'
    assert any(each.want for each in examples), 'it prints nothing'
    assert '\nExamples:\n' in doc
    assert 'mmdet' not in doc.partition('\nExamples:\n')[2]


def docstrings(path):
    """Each docstring of a file, with the line of what it belongs to."""
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, kinds) and (doc := ast.get_docstring(node)):
            yield getattr(node, 'lineno', 1), doc


UNWANTED = re.compile(
    r'^(?:Example|Return|Note):$|:param|:return'
    r'|^    \**\w+ \([\w., |\[\]:`~]+\): ',
    re.M,
)


def test_docstrings_speak_one_dialect():
    """Google's sections; types are in the signatures, not in the text."""
    found = [
        (path, line, doc) for path in SOURCES for line, doc in docstrings(path)
    ]
    assert len(found) > 1000
    assert not [
        f'{path.relative_to(ROOT)}:{line}: {wrong[0]}'
        for path, line, doc in found
        if (wrong := UNWANTED.search(doc))
    ]
