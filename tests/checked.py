"""What check_config says of a config, line by line."""

import json

import pytest

from luminet_mm.preflight import (
    ConfigError,
    check_config,
)

LOSS = dict(type='luminet_mm.LumiNetLoss', signal='roi.cls_score')


def write_categories(folder, names, file='train.json'):
    """Write an annotation file of one image with a box per category."""
    size = dict(width=100, height=80)
    box = dict(image_id=1, bbox=[10, 20, 30, 40], area=1200)
    content = dict(
        images=[dict(id=1, file_name='a.png', **size)],
        annotations=[
            dict(id=i, category_id=i, **box) for i, _ in enumerate(names)
        ],
        categories=[dict(id=i, name=name) for i, name in enumerate(names)],
    )
    (folder / file).write_text(json.dumps(content))


def problems(config, **kwargs):
    with pytest.raises(ConfigError) as error:
        check_config(config, **kwargs)
    return str(error.value).splitlines()[1:]


def problem(config, **kwargs):
    (line,) = problems(config, **kwargs)
    return line
