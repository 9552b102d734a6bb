"""Installed configs are found as MMEngine finds them, without its index."""

import mmengine.config.utils as utils
import pytest
from mmengine.config import Config
from mmengine.config import config as mmengine_config

from luminet_mm.files.config_file import ConfigFileError, read_config
from luminet_mm.files.installed_configs import found_by_name

BASES = (
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
    'mmpretrain::resnet/resnet18_8xb32_in1k.py',
)


@pytest.fixture
def read(monkeypatch):
    """Files of an index that were read."""
    files, load = [], utils.load

    def counted(path, *args, **kwargs):
        files.append(path)
        return load(path, *args, **kwargs)

    monkeypatch.setattr(utils, 'load', counted)
    return files


@pytest.mark.parametrize('base', BASES)
def test_the_same_config_and_no_index(tmp_path, read, base):
    path = tmp_path / 'config.py'
    path.write_text(f"_base_ = '{base}'\n")
    found = read_config(path)
    assert not read
    assert found.to_dict() == Config.fromfile(path).to_dict()
    assert read, 'MMEngine alone does as it always did'


def test_a_name_that_is_not_there_is_looked_up(tmp_path, read):
    path = tmp_path / 'config.py'
    path.write_text("_base_ = 'mmdet::retinanet/gone.py'\n")
    with pytest.raises(ConfigFileError, match='gone.py'):
        read_config(path)
    assert read


def test_it_ends_with_the_block():
    before = mmengine_config._get_external_cfg_path
    with pytest.raises(KeyError), found_by_name():
        assert mmengine_config._get_external_cfg_path is not before
        raise KeyError
    assert mmengine_config._get_external_cfg_path is before
