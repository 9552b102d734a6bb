"""Every recipe is of classes and configs that exist."""

import re
from pathlib import Path

import luminet_mm.losses
import luminet_mm.models
from luminet_mm import distillers, hooks, optim
from luminet_mm.methods.pages import methods_page
from luminet_mm.methods.recipes import RECIPES

ROOT = Path(__file__).parents[2]


def test_classes_and_configs_exist():
    page = methods_page(ROOT)
    page = page[page.index('## Methods that are not a loss') :]
    places = (luminet_mm.losses, luminet_mm.models, distillers, hooks)
    places += (optim,)
    for name in set(re.findall(r'`([\w/.-]+)`', page)):
        if name.endswith('.py'):
            assert (ROOT / 'configs' / name).is_file(), name
        elif name != 'model.teacher':
            assert any(hasattr(place, name) for place in places), name


def test_recipes_have_a_config_or_say_what_is_missing():
    for recipe in RECIPES:
        assert recipe.configs or 'no code is public' in recipe.how
