"""tools/prepare_bccd.py on a folder of four images in VOC's layout."""

import json

import pytest
from mmdet.datasets import CocoDataset

OBJECT = (
    '<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin>'
    '<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>'
)
BOXES = {
    'a': [('WBC', 10, 20, 40, 80), ('RBC', 1, 2, 4, 8)],
    'b': [('Platelets', 0, 0, 5, 6), ('RBC', 7, 7, 7, 7)],
    'c': [('RBC', 1, 1, 2, 2)],
    'd': [('RBC', 3, 3, 9, 9)],
}


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / 'voc'
    for part in ('ImageSets/Main', 'Annotations', 'JPEGImages'):
        (root / part).mkdir(parents=True)
    for split, names in dict(train='b\na\n', val='c\n', test='d\n').items():
        (root / 'ImageSets' / 'Main' / f'{split}.txt').write_text(names)
    for name, boxes in BOXES.items():
        (root / 'Annotations' / f'{name}.xml').write_text(
            '<annotation><size><width>64</width><height>48</height></size>'
            + ''.join(OBJECT.format(*box) for box in boxes)
            + '</annotation>'
        )
        (root / 'JPEGImages' / f'{name}.jpg').write_text(name)
    return root


@pytest.fixture
def fails(run_tool, voc, tmp_path):
    """Return a function that runs the tool and gives its complaint."""

    def run():
        with pytest.raises(SystemExit) as error:
            run_tool('prepare_bccd', voc, '--root', tmp_path / 'out')
        assert not (tmp_path / 'out' / 'annotations').exists()
        return str(error.value)

    return run


def test_as_mmdet_reads_it(run_tool, voc, tmp_path, capsys):
    out = tmp_path / 'out'
    run_tool('prepare_bccd', voc, '--root', out)
    data = CocoDataset(
        data_root=str(out),
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=('RBC', 'WBC', 'Platelets')),
        pipeline=[],
    )
    assert [entry['img_path'][-5:] for entry in data] == ['b.jpg', 'a.jpg']
    found = [
        [(i['bbox_label'], i['bbox']) for i in entry['instances']]
        for entry in data
    ]
    assert found == [
        [(2, [0, 0, 5, 6])],
        [(1, [10, 20, 40, 80]), (0, [1, 2, 4, 8])],
    ]
    printed = capsys.readouterr().out
    assert 'b.xml, RBC of 0x0 pixels' in printed
    assert 'train: 2 images, 3 boxes' in printed
    val = json.loads((out / 'annotations' / 'val.json').read_text())
    assert val['images'] == [
        dict(id=0, file_name='c.jpg', width=64, height=48)
    ]
    assert val['annotations'][0]['area'] == 1
    assert sorted(path.name for path in (out / 'images').iterdir()) == [
        f'{name}.jpg' for name in BOXES
    ]


def test_goes_on_where_it_was_interrupted(run_tool, voc, tmp_path):
    images = tmp_path / 'out' / 'images'
    images.mkdir(parents=True)
    (images / 'a.jpg').write_text('there')
    (images / 'c.jpg.part').write_text('half')
    run_tool('prepare_bccd', voc, '--root', tmp_path / 'out')
    assert (images / 'a.jpg').read_text() == 'there'
    assert (images / 'c.jpg').read_text() == 'c'
    assert not (images / 'c.jpg.part').exists()


@pytest.mark.parametrize(
    'missing',
    ['ImageSets/Main/val.txt', 'Annotations/c.xml', 'JPEGImages/d.jpg'],
)
def test_missing_file(fails, voc, missing):
    (voc / missing).unlink()
    text = fails()
    assert str(voc / missing) in text and 'BCCD_Dataset' in text


@pytest.mark.parametrize(
    ('old', 'new', 'said'),
    [
        ('RBC', 'XYZ', "class 'XYZ'"),
        ('<xmin>1<', '<xmin>one<', "bndbox/xmin is 'one'"),
        ('<ymax>2</ymax>', '', 'bndbox/ymax is None'),
        ('</annotation>', '', 'not a complete XML file'),
    ],
)
def test_broken_annotation(fails, voc, old, new, said):
    file = voc / 'Annotations' / 'c.xml'
    file.write_text(file.read_text().replace(old, new))
    text = fails()
    assert str(file) in text and said in text


@pytest.mark.parametrize(
    'name',
    ['../../evil', '/evil', 'a/../../evil', '..', 'sub/evil', 'C:\\\\e'],
)
def test_names_stay_in_their_folders(fails, voc, tmp_path, name):
    (voc / 'ImageSets/Main/val.txt').write_text(f'a {name}')
    for place in (tmp_path, voc, voc / 'Annotations'):
        (place / 'evil.xml').write_text('<annotation/>')
        (place / 'evil.jpg').write_text('elsewhere')
    text = fails()
    assert 'val.txt' in text and 'is a path, not a name' in text
    assert not list(tmp_path.glob('out/**/*evil*'))


@pytest.mark.parametrize('kind', ['Annotations/c.xml', 'JPEGImages/c.jpg'])
def test_links_out_of_the_folder_are_not_followed(fails, voc, tmp_path, kind):
    secret = tmp_path / 'secret'
    secret.write_text('<annotation>mine</annotation>')
    (voc / kind).unlink()
    (voc / kind).symlink_to(secret)
    assert 'is a link from' in fails()
    assert not (tmp_path / 'out/images/c.jpg').exists()


def test_a_folder_that_is_a_link_itself_is_fine(run_tool, voc, tmp_path):
    elsewhere = tmp_path / 'elsewhere'
    (voc / 'JPEGImages').rename(elsewhere)
    (voc / 'JPEGImages').symlink_to(elsewhere)
    run_tool('prepare_bccd', voc, '--root', tmp_path / 'out')
    assert (tmp_path / 'out/images/c.jpg').read_text() == 'c'


@pytest.mark.parametrize('content', [b'\xff\xfe', b'<a>\0</a>', b''])
def test_files_that_are_not_xml(fails, voc, content):
    (voc / 'Annotations/c.xml').write_bytes(content)
    assert 'c.xml' in fails()


@pytest.mark.parametrize('number', ['\u00b2', '9' * 5000, '-1', '1e3', ''])
def test_odd_numbers(fails, voc, number):
    file = voc / 'Annotations' / 'c.xml'
    file.write_text(file.read_text().replace('<ymax>2<', f'<ymax>{number}<'))
    assert 'not a number of pixels' in fails()
