"""The plan of step time against the number of GPUs, on paper."""

import re
from pathlib import Path

import pytest
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from luminet_mm.stock import stock_config
from luminet_mm.timing import scaling
from luminet_mm.timing.network import luminet_statistics

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_tools_table(capsys, monkeypatch):
    """docs/distributed.md was computed by its command, as the code is now."""
    monkeypatch.chdir(ROOT)
    page = (ROOT / 'docs' / 'distributed.md').read_text(encoding='utf-8')
    (command,) = re.findall(
        r'python -m luminet_mm\.timing\.scaling (.*?)\n```', page, re.S
    )
    scaling.main(command.replace('\\\n', ' ').split())
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith('| ')]
    assert len(rows) > 10
    assert '\n'.join(rows) in page
    assert 'On paper' in page


@pytest.mark.parametrize('kind', ['detector', 'dense', 'classifier'])
def test_statistics_are_of_the_logits_columns(config, kind):
    cfg = config(kind)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(stock_config(cfg).model)
    columns = dict(detector=4 + 1, dense=4, classifier=5)[kind]
    assert scaling.logit_columns(model) == columns
    parameters, exchanges = scaling.step_sizes(cfg)
    trained = (p for p in model.parameters() if p.requires_grad)
    assert parameters == sum(p.numel() for p in trained)
    # a dense head's BCKD has no statistics
    expected = [] if kind == 'dense' else [*luminet_statistics(columns)]
    assert exchanges == expected
    with pytest.raises(ValueError, match='Linear is not a model of any'):
        scaling.logit_columns(nn.Linear(1, 1))
