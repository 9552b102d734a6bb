"""What is written is what is read, in lines that fit."""

from mmengine.config import Config

from luminet_mm.recipe.config_text import WIDTH, Code, config_text, literal

SETTINGS = dict(
    classes=('a',),
    many=tuple(f'class {index}' for index in range(30)),
    scale=(320, 240),
    rates=[1.0, 0.5, 2e-5],
    model=dict(
        type='Some.Type',
        text='it\'s \\ and "this"',
        nothing=None,
        flag=True,
        inner=dict(deep=dict(numbers=list(range(40)), empty=dict())),
    ),
    odd={'a.b': 1, 2: 'two'},
)


def test_a_config_is_read_back(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text(config_text('One line.', SETTINGS))
    read = Config.fromfile(path).to_dict()
    assert read == SETTINGS and type(read['rates'][0]) is float
    assert path.read_text().startswith('"""One line."""\n\nclasses')


def test_lines_fit():
    text = config_text('A title.\n\nMore of it.', SETTINGS)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert '"""A title.\n\nMore of it.\n"""' in text


def test_code_stands_as_it_is():
    assert literal([Code('*_base_.custom_hooks'), 'a']) == (
        "[*_base_.custom_hooks, 'a']"
    )
