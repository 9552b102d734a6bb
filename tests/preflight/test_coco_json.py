"""Reading one section of a COCO file, wherever it stands."""

import json

import pytest

from luminet_mm.preflight.coco_json import _find_section, read_section

IMAGES = [dict(id=1, file_name='a.jpg'), dict(id=2, file_name='b [1].jpg')]
ANNOTATIONS = [dict(id=7, bbox=[1, 2, 3, 4], segmentation=[[1, 2]])]
CATEGORIES = [dict(id=1, name='cat'), dict(id=3, name='images')]
SECTIONS = dict(
    info=dict(year=2017),
    licenses=[dict(id=1)],
    images=IMAGES,
    annotations=ANNOTATIONS,
    categories=CATEGORIES,
)


def write(path, content, **kwargs):
    path.write_text(json.dumps(content, **kwargs), encoding='utf-8')
    return path


@pytest.mark.parametrize('indent', [None, 2])
@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize('key', ['images', 'annotations', 'categories'])
def test_sections(tmp_path, key, reverse, indent):
    order = sorted(SECTIONS, reverse=reverse)
    path = write(
        tmp_path / 'a.json', {k: SECTIONS[k] for k in order}, indent=indent
    )
    assert read_section(path, key) == SECTIONS[key]


def test_cocos_own_order_is_not_parsed_whole(tmp_path):
    """Broken annotations do not matter for the sections around them."""
    text = json.dumps(SECTIONS).replace('"bbox": [1, 2', '"bbox": [1, oops')
    path = tmp_path / 'a.json'
    path.write_text(text)
    assert read_section(path, 'images') == IMAGES
    assert read_section(path, 'categories') == CATEGORIES
    with pytest.raises(ValueError, match='a.json is not JSON'):
        read_section(path, 'annotations')


def test_keys_inside_entries_do_not_confuse(tmp_path):
    content = dict(
        info=dict(images='none', categories='few'),
        images=[dict(id=1, info=dict(a=1), annotations=[5])],
        categories=[dict(id=1, name='a', categories=[1])],
    )
    path = write(tmp_path / 'a.json', content)
    assert read_section(path, 'images') == content['images']
    assert read_section(path, 'categories') == content['categories']


def test_missing_section_is_empty(tmp_path):
    path = write(tmp_path / 'a.json', dict(images=[]))
    assert read_section(path, 'categories') == []
    assert read_section(path, 'images') == []


@pytest.mark.parametrize(
    'content', [[1, 2], dict(images=dict(a=1)), dict(images=[1])]
)
def test_not_coco(tmp_path, content):
    path = write(tmp_path / 'a.json', content)
    with pytest.raises(ValueError, match='not a list of COCO entries'):
        read_section(path, 'images')


def test_empty_file(tmp_path):
    path = tmp_path / 'a.json'
    path.touch()
    with pytest.raises(ValueError, match='a.json is empty'):
        read_section(path, 'images')


def test_unicode(tmp_path):
    names = [dict(id=1, name='Käse'), dict(id=2, name='猫')]
    path = write(
        tmp_path / 'a.json', dict(categories=names), ensure_ascii=False
    )
    assert _find_section(path, 'categories') == names
