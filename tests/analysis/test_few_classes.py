"""Merged categories: the same boxes, fewer names."""

import json

import pytest

from luminet_mm.analysis.few_classes import main, merge_categories


def content(categories=10):
    return dict(
        images=[dict(id=1)],
        # ids need neither begin at 0 nor be in order
        categories=[dict(id=100 - i, name=str(i)) for i in range(categories)],
        annotations=[
            dict(id=i, category_id=100 - i, bbox=[i, 0, 1, 1])
            for i in range(categories)
        ],
    )


@pytest.mark.parametrize(
    ('classes', 'names'),
    [(1, ['0-9']), (2, ['0-4', '5-9']), (10, list('0123456789'))],
)
def test_neighbours_are_merged(classes, names):
    merged = merge_categories(content(), classes)
    assert [each['name'] for each in merged['categories']] == names
    assert [each['id'] for each in merged['categories']] == [*range(classes)]
    assert [box['category_id'] for box in merged['annotations']] == [
        i * classes // 10 for i in range(10)
    ]
    assert [box['bbox'] for box in merged['annotations']] == [
        box['bbox'] for box in content()['annotations']
    ]
    assert content()['annotations'][1]['category_id'] == 99


def test_more_classes_than_categories_are_refused():
    with pytest.raises(ValueError, match='--classes 11: the file has 10'):
        merge_categories(content(), 11)


def test_the_command(tmp_path, monkeypatch, capsys):
    source, out = tmp_path / 'in.json', tmp_path / 'out.json'
    source.write_text(json.dumps(content(3)))
    monkeypatch.setattr('sys.argv', ['x', str(source), str(out)])
    main()
    assert len(json.loads(out.read_text())['categories']) == 1
    source.write_text('<html>')
    with pytest.raises(SystemExit):
        main()
    assert str(source) in capsys.readouterr().err
