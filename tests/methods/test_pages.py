"""The pages that are made of the cards are those of the cards."""

from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from luminet_mm.methods.pages import PAGES, model_index

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('name', PAGES)
def test_the_committed_page_is_what_the_module_makes(name):
    file, make = PAGES[name]
    committed = (ROOT / file).read_text(encoding='utf-8')
    assert committed == make(ROOT), (
        f'{file} is not of the cards: python -m luminet_mm.methods --write'
    )


def test_collections_have_the_optimizer_of_their_configs():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text('utf-8'))
    for collection in index['Collections']:
        config = next(
            model['Config']
            for model in index['Models']
            if model['In Collection'] == collection['Name']
        )
        optim = Config.fromfile(ROOT / config).optim_wrapper.optimizer
        name = dict(SGD='SGD with Momentum').get(optim.type, optim.type)
        assert name in collection['Metadata']['Training Techniques']


def test_a_collection_without_a_card_is_refused(tmp_path):
    (tmp_path / 'model-index.yml').write_text(
        'Models:\n  - Name: a\n    In Collection: NoSuchMethod\n'
    )
    with pytest.raises(ValueError, match='names NoSuchMethod; no card'):
        model_index(tmp_path)
