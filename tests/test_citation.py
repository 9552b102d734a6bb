"""CITATION.cff: this version, its licence, the main method's paper."""

from pathlib import Path

import yaml

from luminet_mm.losses import LumiNetLoss
from luminet_mm.version import __version__

ROOT = Path(__file__).parents[1]


def test_it_cites_this_version_and_the_paper():
    found = yaml.safe_load((ROOT / 'CITATION.cff').read_text('utf-8'))
    required = {'cff-version', 'message', 'title', 'authors'}
    assert required <= found.keys()
    assert str(found['version']) == __version__
    released = f'## [{__version__}] - {found["date-released"]}\n'
    assert released in (ROOT / 'CHANGELOG.md').read_text('utf-8')
    assert f'license = "{found["license"]}"' in (
        ROOT / 'pyproject.toml'
    ).read_text('utf-8')
    (paper,) = found['references']
    assert paper['title'] == LumiNetLoss.card.paper.title
    assert paper['url'] == LumiNetLoss.card.paper.url
    assert len(paper['authors']) == 7
