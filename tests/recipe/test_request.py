"""The same command goes on; another one needs another folder."""

from dataclasses import replace

import pytest

from luminet_mm.recipe.dataset import DataError
from luminet_mm.recipe.request import ROLES, Request, keep_plan, kept_plan


@pytest.fixture
def request_(tmp_path):
    found = Request('data', str(tmp_path), teacher=('a.py',), budget='30m')
    found.folder.mkdir()
    for role in ROLES:
        found.config(role).touch()
    return found


def start(request, role='teacher'):
    folder = request.folder.parent / role
    folder.mkdir()
    (folder / 'settings.json').touch()


def test_the_plan_of_the_same_command_is_kept(request_):
    assert kept_plan(request_) is None
    keep_plan(request_, dict(epochs=3))
    assert kept_plan(request_) == dict(epochs=3)
    start(request_)
    assert kept_plan(request_) == dict(epochs=3)


def test_another_command_plans_anew_until_something_is_trained(request_):
    keep_plan(request_, dict(epochs=3))
    other = replace(request_, budget='1h')
    assert kept_plan(other) is None
    start(request_)
    with pytest.raises(DataError, match="budget is '1h' now and was '30m'"):
        kept_plan(other)


@pytest.mark.parametrize('text', [None, '', '[]', '{"request": 1}'])
def test_runs_without_a_plan_are_not_touched(request_, text):
    start(request_)
    if text is not None:
        (request_.folder.parent / 'plan.json').write_text(text)
    with pytest.raises(DataError, match='started with other settings'):
        kept_plan(request_)


def test_a_config_that_is_gone_is_written_again(request_):
    keep_plan(request_, dict(epochs=3))
    request_.config('student').unlink()
    assert kept_plan(request_) is None


def test_what_is_trained():
    assert Request('d', 'o').trained == list(ROLES)
    given = Request('d', 'o', teacher=('a.py', 'a.pth'), baseline=False)
    assert given.trained == ['distilled']
