"""cache.json: what has to be in it, and what is said where it is not."""

import json

import pytest
import rounds
from caching import CLASSES, IMAGES, ROUNDS, dataset

from luminet_mm.preflight import leaf_datasets
from luminet_mm.teachers.cache import TeacherCache
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cache_header import (
    BELONGS,
    FIELDS,
    SHOWN,
    header_differences,
    make_header,
    read_header,
)

HEADER = dict(
    format=2,
    images=6,
    classes=4,
    rounds=2,
    dtype='float32',
    teacher={},
    data=dict(classes=['cat']),
    augmentation={},
    views={},
    versions={},
    checksums={'0': 'abc'},
)
BOX_HEADER = {
    **{key: value for key, value in HEADER.items() if key != 'dtype'},
    **dict(
        kind='boxes',
        boxes=8,
        jittered=0,
        entries=3,
        flips=['', 'horizontal'],
        ids=['7', '9'],
    ),
}
HEADERS = dict(logits=HEADER, boxes=BOX_HEADER)


def write(folder, header):
    text = header if isinstance(header, str) else json.dumps(header)
    (folder / 'cache.json').write_text(text)
    return folder


def test_what_is_written_is_read(tmp_path):
    assert read_header(write(tmp_path, HEADER)) == HEADER
    assert read_header(write(tmp_path, BOX_HEADER)) == BOX_HEADER
    for kind, header in HEADERS.items():
        assert set(FIELDS[kind]) == set(header) - {'format', 'kind'}
        assert set(BELONGS[kind]) <= set(FIELDS[kind])
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path, 'unfinished.json')


@pytest.mark.parametrize(
    ('kind', 'key'), [(kind, key) for kind in FIELDS for key in FIELDS[kind]]
)
def test_each_field_has_to_be_there_and_of_its_kind(tmp_path, kind, key):
    what, _ = FIELDS[kind][key]
    header = HEADERS[kind]
    rest = {name: value for name, value in header.items() if name != key}
    with pytest.raises(CacheError, match=f'it has no {key}'):
        read_header(write(tmp_path, rest))
    with pytest.raises(CacheError) as error:
        read_header(write(tmp_path, dict(header, **{key: [1]})))
    assert f'cache.json cannot be read ({key} is not {what})' in str(
        error.value
    )
    assert 'delete the folder and write it anew' in str(error.value)


@pytest.mark.parametrize(
    'change',
    [
        dict(images=0),
        dict(classes=True),
        dict(rounds=2.0),
        dict(dtype='float64'),
        dict(data={}),
        dict(checksums={'first': 'abc'}),
        dict(checksums={'0': 1}),
        dict(kind=['boxes']),
    ],
)
def test_values_are_looked_at(tmp_path, change):
    (key,) = change
    with pytest.raises(CacheError, match=f'{key} is not'):
        read_header(write(tmp_path, {**HEADER, **change}))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'it is empty'),
        ('[1, 2]', 'it is a list, not a dict'),
        ('{"format": 2', 'delimiter'),
        ('{}', 'it has no format'),
        ('[' * 100_000, 'recursion'),
    ],
)
def test_what_is_not_a_header(tmp_path, text, message):
    with pytest.raises(CacheError, match=message):
        read_header(write(tmp_path, text))


def test_the_format_before_has_no_checksums_and_a_later_one_any_field(
    tmp_path,
):
    old = {key: HEADER[key] for key in HEADER if key != 'checksums'}
    assert read_header(write(tmp_path, dict(old, format=1))) == dict(
        HEADER, format=1, checksums={}
    )
    assert read_header(write(tmp_path, dict(format=3))) == dict(format=3)


def test_differences_are_few_lines():
    assert header_differences(HEADER, dict(images=6, dtype='float32')) == []
    assert header_differences(HEADER, dict(images=7, classes=4)) == [
        'images: 6 in the cache, 7 in this run'
    ]
    many = {f'key{i}': i for i in range(SHOWN + 3)}
    lines = header_differences(dict(data={}), dict(data=many))
    assert len(lines) == SHOWN + 1
    assert lines[0] == 'data.key0: None in the cache, 0 in this run'
    assert lines[-1] == 'and 3 more'


def without(key):
    return {k: v for k, v in rounds.header().items() if k != key}


BROKEN = {
    'empty': (b'', 'it is empty'),
    'cut': (
        json.dumps(rounds.header()).encode()[:40],
        'Unterminated|Expecting',
    ),
    'list': (b'[]', 'it is a list, not a dict'),
    'null': (b'null', 'it is a NoneType, not a dict'),
    'no text': (b'\xff\xfe\x00', "can't decode"),
    'deep': (b'[' * 100_000, 'recursion'),
    'no format': (b'{}', 'it has no format'),
    **{
        f'no {key}': (json.dumps(without(key)).encode(), f'it has no {key}')
        for key in rounds.header()
    },
    **{
        f'{key}={value!r}': (
            json.dumps(rounds.header(**{key: value})).encode(),
            f'{key} is not ',
        )
        for key, values in dict(
            images=['6', 0, -1, 1.5, None, True],
            classes=[[]],
            rounds=[{}],
            dtype=['float64', ['float32']],
            teacher=['x'],
            data=[[], {}, dict(classes='cat')],
            augmentation=[None],
            views=[[]],
            versions=[1],
            checksums=[[], dict(a='1'), {'0': 1}],
        ).items()
        for value in values
    },
}


@pytest.mark.parametrize('kind', BROKEN)
@pytest.mark.parametrize('name', ['cache.json', 'unfinished.json'])
def test_a_broken_header_is_named_with_the_fix(cache, kind, name):
    content, problem = BROKEN[kind]
    (cache / 'cache.json').unlink()
    (cache / name).write_bytes(content)
    pattern = f'{name} cannot be read .*({problem}).*; delete the folder and'
    with pytest.raises(CacheError, match=pattern):
        read_header(cache, name)
    with pytest.raises(CacheError, match=pattern):
        rounds.write(cache)
    with pytest.raises(CacheError):
        TeacherCache(cache)


def test_what_a_cache_of_a_teacher_says(block, mmpretrain_scope):
    data = dataset()
    live = {key: value for key, value in block.items() if key != 'cache'}
    own = make_header(live, data, leaf_datasets(data), CLASSES, 'float16')
    assert own.keys() == rounds.header().keys() and own['checksums'] == {}
    assert set(BELONGS['logits']) <= own.keys()
    for key, (_, fits) in FIELDS['logits'].items():
        assert fits(own[key]), key
    assert json.loads(json.dumps(own)) == own, 'it is plain JSON'
    counts = own['images'], own['rounds'], own['classes'], own['dtype']
    assert counts == (IMAGES, ROUNDS, CLASSES, 'float16')
