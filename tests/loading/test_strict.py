"""MMEngine's own loading, replaced: it fills the same, and refuses more."""

import pytest
import tiny
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from luminet_mm.files.errors import CheckpointError
from luminet_mm.loading import strict
from luminet_mm.loading.strict import strict_loading


@pytest.fixture(autouse=True)
def _restored():
    with strict_loading():
        yield


def built(**kwargs):
    return tiny.build(tiny.detector(**kwargs))


def pretrained(path, **kwargs):
    config = tiny.detector()
    config['backbone']['init_cfg'] = dict(
        type='Pretrained', checkpoint=str(path), **kwargs
    )
    return config


@pytest.mark.parametrize('prefix', ['backbone', 'backbone.', None])
def test_init_cfg_fills_what_it_did_before(tmp_path, prefix):
    other = built()
    file = tmp_path / 'whole.pth'
    part = other if prefix else other.backbone
    torch.save(dict(state_dict=part.state_dict(), meta={}), file)
    model = tiny.build(pretrained(file, prefix=prefix), seed=9)
    for key, value in other.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[key], value)


def test_init_cfg_of_another_width_is_refused(tmp_path):
    file = tmp_path / 'wide.pth'
    torch.save(built(width=12).state_dict(), file)
    config = pretrained(file, prefix='backbone.')
    with pytest.raises(CheckpointError, match='init_cfg of ResNet.*wide.pth'):
        tiny.build(config)
    with strict_loading(allow_partial=True):
        tiny.build(config)


def test_init_cfg_names_what_is_there(tmp_path):
    file = tmp_path / 'a.pth'
    torch.save(built().state_dict(), file)
    with pytest.raises(
        CheckpointError, match='nothing under that prefix. It has backbone'
    ):
        tiny.build(pretrained(file, prefix='encoder.'))


def test_afterwards_all_is_as_it_was():
    """Loaders, handlers of data files, and what `init_cfg` calls."""
    with strict_loading(trust=True):
        ours = CheckpointLoader._schemes['']
        assert CheckpointLoader._schemes[''].__module__ == strict.__name__
        with strict_loading():
            assert CheckpointLoader._schemes[''] is not ours
        assert CheckpointLoader._schemes[''] is ours


def test_weights_alone_are_read_and_a_text_to_run_is_dropped(tmp_path):
    content = dict(
        state_dict=dict(w=torch.ones(2)), meta=dict(config='1 / 0', epoch=3)
    )
    path = tmp_path / 'a.pth'
    torch.save(content, path)
    found = CheckpointLoader.load_checkpoint(str(path))
    assert torch.equal(found['state_dict']['w'], torch.ones(2))
    assert found['meta'] == dict(epoch=3)


@pytest.mark.parametrize(
    'name, said',
    [
        ('torchvision://resnet5', 'no model of that name. Did you mean'),
        ('mmcls://nothing_like_it', 'no model of that name'),
        ('pavi://a.pth', 'not supported. Give a path'),
    ],
)
def test_names_that_stand_for_nothing(name, said):
    with pytest.raises(CheckpointError, match=said):
        CheckpointLoader.load_checkpoint(name)
