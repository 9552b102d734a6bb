"""What launchers tell the processes that they start."""

import pytest
from mmengine.config import Config

from luminet_mm.runs.launchers import RANK_VARIABLES, is_first, world_size


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for names in RANK_VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize('launcher', list(RANK_VARIABLES))
def test_ranks_are_read_from_the_launchers_own_variables(
    launcher, monkeypatch
):
    cfg = Config(dict(launcher=launcher))
    assert world_size(cfg) == 1 and is_first(cfg)
    rank, size, local = RANK_VARIABLES[launcher]
    monkeypatch.setenv(size, '8')
    monkeypatch.setenv(rank, '4')
    monkeypatch.setenv(local, '0')  # first of its machine, not of all
    assert world_size(cfg) == 8 and not is_first(cfg)
    monkeypatch.setenv(rank, '0')
    assert is_first(cfg)


def test_without_a_launcher_no_variable_counts(monkeypatch):
    for names in RANK_VARIABLES.values():
        for name in names:
            monkeypatch.setenv(name, '3')
    for cfg in (Config({}), Config(dict(launcher='none'))):
        assert world_size(cfg) == 1 and is_first(cfg)
