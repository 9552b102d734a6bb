"""The site: its menu, its pages, and every link and anchor in them.

``make docs`` checks the same and more; these tests need no MkDocs.
"""

import importlib.util
import re
from pathlib import Path, PurePosixPath

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def hook(name):
    path = ROOT / 'docs' / 'hooks' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'site_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site = hook('pages')


class Loader(yaml.SafeLoader):
    """Without the one Python object that mkdocs.yml names."""


Loader.add_multi_constructor(
    'tag:yaml.org,2002:python/', lambda loader, suffix, node: suffix
)
CONFIG = yaml.load((ROOT / 'mkdocs.yml').read_text('utf-8'), Loader)


def listed(nav):
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from listed([below] if isinstance(below, str) else below)


@pytest.fixture(scope='module')
def texts():
    """The Markdown of every page, by its path on the site."""
    own = {
        name: (ROOT / 'docs' / name).read_text(encoding='utf-8')
        for name in site.own_pages()
    }
    outside, api = site.outside_pages(), site.api_pages()
    methods = site.method_pages()
    assert not own.keys() & outside.keys()
    assert len(methods) > 50 and len(api) > 20
    return {**own, **outside, **api, **methods}


def test_the_menu_has_every_page_once():
    entries = list(listed(CONFIG['nav']))
    assert sorted(entries) == sorted([*site.own_pages(), *site.OUTSIDE])
    titles = [title for part in CONFIG['nav'] for title in part]
    # the hook puts the generated pages there
    assert {'Choose a method', 'Reference'} <= set(titles)
    assert titles == [
        'Start',
        'Your data',
        'Choose a method',
        'Several GPUs',
        'Daily work',
        'Reference',
        'Why',
    ]


def test_the_list_on_github_has_every_page_in_the_same_order():
    text = (ROOT / 'docs' / 'README.md').read_text(encoding='utf-8')
    pages = re.findall(r'\]\(([\w-]+\.md)\)', text)
    menu = [name for name in listed(CONFIG['nav']) if name not in site.OUTSIDE]
    assert pages == menu


def without_code(text):
    return re.sub(r'^( *)(```+).*?^\1\2', '', text, flags=re.M | re.S)


def anchors(text):
    headings = re.findall(r'^#+ (.+)$', without_code(text), re.M)
    return {
        re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
        for heading in headings
    }


def test_every_link_leads_to_a_page_and_a_heading(texts):
    headings = {name: anchors(text) for name, text in texts.items()}
    count = 0
    for name, text in texts.items():
        for target in re.findall(r'\]\(([^)\s]+)\)', without_code(text)):
            if re.match(r'[a-z]+:', target):
                continue
            count += 1
            path, _, anchor = target.partition('#')
            page = name
            if path:
                folder = PurePosixPath(name).parent
                parts = []
                for part in (folder / path).parts:
                    if part == '..':
                        assert parts, (name, target)
                        parts.pop()
                    else:
                        parts.append(part)
                page = '/'.join(parts)
            if page.endswith('.md'):
                assert page in texts, (name, target)
                assert not anchor or anchor in headings[page], (name, target)
            else:
                assert (ROOT / 'docs' / page).is_file(), (name, target)
    assert count > 300


def test_a_link_that_names_a_page_leads_there(texts):
    for name, text in texts.items():
        for label, target in re.findall(
            r'\[(?:docs/)?([\w-]+\.md)\]\(([^)\s#]+)', text
        ):
            page = PurePosixPath(target).name
            assert label.lower() == page, (name, label, target)


def test_a_page_has_one_title(texts):
    for name, text in texts.items():
        titles = re.findall(r'^# .+', without_code(text), re.M)
        assert len(titles) == 1 and text.startswith(titles[0]), name


def test_lists_get_the_indentation_that_the_site_needs():
    text = (
        '- a\n\n  ```bash\n  x\n  ```\n- b\n  goes on\n\n1. c\n\n   d\n\ne\n'
    )
    assert site.prepared(text) == (
        '- a\n\n    ```bash\n    x\n    ```\n\n- b\n    goes on\n\n'
        '1. c\n\n    d\n\ne\n'
    )
    code = '```python\nif x:\n  - y\n  z\n```\n\n    code\n'
    assert site.prepared(code) == code


def test_links_of_the_readme_fit_the_site():
    text = (
        '[a](docs/losses.md#x) [b](CONTRIBUTING.md) [c](docs/images/x.svg) '
        '[LICENSE](LICENSE) [d](docs/README.md)'
    )
    assert site.fitted(text) == (
        '[a](losses.md#x) [b](contributing.md) [c](images/x.svg) '
        'LICENSE [d](index.md)'
    )


def test_roles_of_sphinx_become_code_or_a_link():
    html = (
        '<p>See :class:<code>Card</code>, '
        ':func:<code>~luminet_mm.rng.x</code>; '
        'meth:<code>answer</code></p>'
    )
    assert site.without_roles(html) == (
        '<p>See <code>Card</code>, <autoref identifier="luminet_mm.rng.x" '
        'optional><code>x</code></autoref>; <code>answer</code></p>'
    )


def test_formulas_are_converted():
    html = (
        '<span class="arithmatex">\\(a &lt; b\\)</span>'
        '<div class="arithmatex">\\[c\\]</div>'
    )

    def convert(tex, display):
        return f'{display}:{tex};'

    assert site.with_formulas(html, convert) == 'inline:a < b;block:c;'


def test_formulas_of_docstrings_are_found():
    text = 'A.\n\n.. math:: a +\n          b\n\nWith :math:`a\nb`.'
    assert site.formulas(text) == 'A.\n\n$$\na + b\n$$\n\nWith \\(a b\\).'


@pytest.mark.slow
def test_the_site_builds_with_strict_links(tmp_path):
    pytest.importorskip('material', reason='mkdocs comes with the extra docs')
    build = pytest.importorskip('mkdocs.commands.build')
    load = pytest.importorskip('mkdocs.config').load_config
    config = load(str(ROOT / 'mkdocs.yml'), site_dir=str(tmp_path / 'site'))
    assert config.strict
    config.plugins.on_startup(command='build', dirty=False)
    build.build(config)
    page = (tmp_path / 'site' / 'methods' / 'kd' / 'index.html').read_text()
    assert '<math' in page and 'arithmatex' not in page
    assert ':class:' not in page
