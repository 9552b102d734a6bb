"""A file that is not a config is refused in one line that says why."""

import pytest
from mmengine.config import Config

from luminet_mm.files.config_file import (
    ConfigFileError,
    read_config,
    read_grid,
)
from luminet_mm.teachers.frozen import FrozenTeacher

READ_BASE = 'from mmengine.config import read_base\nwith read_base():\n'
FILES = {
    'page.py': '<!DOCTYPE html>\n<html><body>404</body></html>',
    'page_base.py': "_base_ = './page.py'",
    'binary.py': bytes(range(256)),
    'empty.py': '',
    'comment.py': '# nothing\n',
    'weights.pth': b'PK\x03\x04',
    'syntax.py': 'a = 1\nb = dict(x=1 y=2)\n',
    'syntax_base.py': "_base_ = './syntax.py'\n",
    'lazy.py': f'{READ_BASE}    from .syntax import *\n',
    'name.py': 'a = 1\nb = a + foo\n',
    'no_base.py': "_base_ = './gone.py'\n",
    'no_package.py': 'from nowhere.at_all import Net\na = dict(type=Net)\n',
    'broken.json': '{"a": 1,',
    'list.json': '[1, 2]',
    'broken.yaml': 'a: [1, 2',
}


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        if isinstance(content, str):
            content = content.encode()
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    'name, said',
    [
        ('page.py', 'page.py is not a config but a web page'),
        ('page_base.py', 'page.py is not a config but a web page'),
        ('binary.py', 'is not a config but a binary file'),
        ('empty.py', 'sets nothing'),
        ('comment.py', 'sets nothing'),
        ('weights.pth', 'its name must end in .py'),
        ('syntax.py', 'syntax.py, line 2: syntax error'),
        ('syntax_base.py', 'syntax.py, line 2: syntax error'),
        ('lazy.py', 'syntax.py, line 2: syntax error'),
        ('name.py', "line 2: NameError: name 'foo' is not defined"),
        ('no_base.py', 'gone.py'),
        ('no_package.py', "No module named 'nowhere'"),
        ('broken.json', 'broken.json: JSONDecodeError'),
        ('list.json', 'list.json: '),
        ('broken.yaml', 'broken.yaml: '),
        ('gone.py', 'gone.py does not exist'),
        ('', 'is a folder'),
    ],
)
def test_what_is_not_a_config_is_refused(folder, name, said):
    with pytest.raises(ConfigFileError) as error:
        read_config(folder / name)
    message = str(error.value)
    assert said in message
    assert name in message
    assert 'Traceback' not in message


def test_a_grid_needs_runs(folder):
    (folder / 'grid.py').write_text("runs = dict(a=dict(config='b.py'))")
    assert read_grid(folder / 'grid.py') == dict(a=dict(config='b.py'))
    (folder / 'other.py').write_text('model = dict()')
    with pytest.raises(ConfigFileError, match='other.py has no runs=dict'):
        read_grid(folder / 'other.py')


def test_a_teachers_config_is_read_alike(folder):
    for name in ('page.py', 'syntax.py', 'empty.py'):
        with pytest.raises(ConfigFileError, match=f'teacher.config.*{name}'):
            FrozenTeacher(config=str(folder / name), checkpoint=None)


def test_configs_of_every_kind_are_read(folder):
    (folder / 'good.yaml').write_text('a: 1')
    (folder / 'good.json').write_text('{"a": 1}')
    (folder / 'base.py').write_text('a = 1\n')
    (folder / 'good.py').write_text("_base_ = './base.py'\n")
    (folder / 'pure.py').write_text(f'{READ_BASE}    from .base import *\n')
    for name in ('good.yaml', 'good.json', 'good.py', 'pure.py'):
        cfg = read_config(folder / name)
        assert isinstance(cfg, Config) and cfg.a == 1
