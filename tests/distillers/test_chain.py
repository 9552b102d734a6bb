"""A chain of two links: a distilled student is the next one's teacher."""

import copy
import shutil

import pytest
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from luminet_mm.preflight import ConfigError, check_config

CONFIG = 'link1.py'
CHECKPOINT = 'work_dirs/link1/epoch_1.pth'


@pytest.fixture(autouse=True)
def _surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def first_link():
    """Trains a connector too, which the next link has no use for."""
    config = tiny_cls.distiller(
        student=tiny_cls.classifier(width=8),
        loss_kd=dict(type='luminet_mm.KDLoss', signal='logits', tau=4.0),
        loss_hint=dict(
            type='luminet_mm.FitNetLoss', signal='feats', connector='linear'
        ),
    )
    torch.save(
        tiny_cls.build(config['teacher']['config']['model']).state_dict(),
        'teacher.pth',
    )
    config['teacher']['checkpoint'] = 'teacher.pth'
    Config(dict(model=config, default_scope='mmpretrain')).dump(CONFIG)
    return config


def second_link():
    return tiny_cls.distiller(
        student=tiny_cls.classifier(width=4),
        teacher=[dict(config=CONFIG, checkpoint=CHECKPOINT)],
        loss_kd=dict(type='luminet_mm.KDLoss', signal='logits', tau=4.0),
    )


def test_two_links():
    first = tiny_cls.runner(first_link(), 'work_dirs/link1', max_epochs=1)
    first.train()
    shutil.move('teacher.pth', 'elsewhere.pth')  # it has done its work

    check_config(
        Config(dict(model=second_link(), default_scope='mmpretrain')),
        phases=('train',),
    )
    second = tiny_cls.runner(second_link(), 'work_dirs/link2', max_epochs=1)
    (assistant,) = second.model.teachers
    saved = torch.load(CHECKPOINT, weights_only=False)['state_dict']
    trained = {
        key: value
        for key, value in saved.items()
        if not key.startswith('distill.')
    }
    assert len(trained) < len(saved)
    assert assistant.name == 'mmpretrain.ImageClassifier'
    before = copy.deepcopy(assistant.model.state_dict())
    images = torch.randn(4, 3, 32, 32)
    stock = tiny_cls.build(tiny_cls.classifier(width=8))
    stock.load_state_dict(trained)
    stock.eval()
    torch.testing.assert_close(assistant.model(images), stock(images))
    assert assistant.classes == tiny_cls.CLASSES

    second.train()
    assert second.message_hub.get_scalar('train/loss_kd').current() > 0
    after = assistant.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
    # the last student knows nothing of the chain
    last = torch.load('work_dirs/link2/epoch_1.pth', weights_only=False)
    stock = tiny_cls.build(tiny_cls.classifier(width=4))
    assert last['state_dict'].keys() == stock.state_dict().keys()


def test_a_link_that_is_not_trained_yet():
    first_link()
    with pytest.raises(ConfigError) as error:
        check_config(
            Config(dict(model=second_link(), default_scope='mmpretrain')),
            phases=('train',),
        )
    line = str(error.value)
    assert f'model.teacher.checkpoint: no file {CHECKPOINT}; ' in line
    assert f'train {CONFIG} first' in line
