"""WeightsHook: what is said of a checkpoint before it is loaded."""

import copy
from types import SimpleNamespace

import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from luminet_mm.files.errors import CheckpointError
from luminet_mm.hooks.weights import WeightsHook
from luminet_mm.launch.runner import build_runner
from luminet_mm.loading.strict import strict_loading


@pytest.fixture(autouse=True)
def _restored():
    with strict_loading():
        yield


def built(**kwargs):
    return tiny.build(tiny.detector(**kwargs))


def of_coco():
    """The tiny detector for 80 classes."""
    config = copy.deepcopy(tiny.detector())
    config['roi_head']['bbox_head']['num_classes'] = 80
    return config


@pytest.fixture
def lora():
    """A model that LoRA trained, and the whole of what it was trained on."""
    config = tiny_cls.lora()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(config)
    base = {
        f'{name}': value.detach()
        for name, value in model.named_parameters()
        if 'lora' not in name
    }
    return config, model, base


def start(model, work_dir, load_from, **flags):
    """What a runner does with `load_from`, up to the first step."""
    cfg = Config(
        dict(
            model=copy.deepcopy(model),
            default_scope='mmdet',
            work_dir=str(work_dir),
            launcher='none',
            experiment_name=work_dir.name,
            load_from=str(load_from),
        )
    )
    runner = build_runner(cfg, **flags)
    runner.load_or_resume()
    return runner.model


def test_load_from_of_another_width_is_refused(tmp_path):
    file = tmp_path / 'wide.pth'
    torch.save(dict(state_dict=built(width=12).state_dict()), file)
    with pytest.raises(CheckpointError) as error:
        start(tiny.detector(), tmp_path / 'work', file)
    text = str(error.value)
    assert str(file) in text and 'does not fit the model' in text
    assert '% of the numbers' in text and '--allow-partial' in text
    assert 'in the file' in text and 'more' in text

    start(tiny.detector(), tmp_path / 'part', file, allow_partial=True)
    [log] = (tmp_path / 'part').glob('*/*.log')
    assert 'The rest keeps its initial values' in log.read_text()


def test_load_from_with_other_classes_starts(tmp_path):
    state = tiny.build(of_coco(), seed=3).state_dict()
    file = tmp_path / 'coco.pth'
    torch.save(dict(state_dict=state), file)
    model = start(tiny.detector(), tmp_path / 'a', file, last_layer=True)
    key = 'neck.lateral_convs.0.conv.weight'
    assert torch.equal(model.state_dict()[key].cpu(), state[key])
    # a test needs every layer
    with pytest.raises(CheckpointError, match='fc_cls.*81'):
        start(tiny.detector(), tmp_path / 'b', file)


def check(model, checkpoint, config=None, allow_partial=False):
    """What the hook says of a checkpoint that MMEngine is about to load."""
    cfg = SimpleNamespace(model=config or {})
    runner = SimpleNamespace(model=model, _resume=False, cfg=cfg)
    WeightsHook('a.pth', allow_partial, False).after_load_checkpoint(
        runner, checkpoint
    )


def test_a_distiller_starts_from_its_students_file():
    """What a method trains beside the student is not in it."""
    loss = dict(type='luminet_mm.FitNetLoss', signal='neck', levels=[0])
    model = tiny.build(tiny.distiller(loss_fitnet=loss))
    assert any(key.startswith('distill.') for key in model.state_dict())
    check(model, dict(state_dict=built().state_dict()))


def test_files_of_ddp_and_with_averages_fit():
    model = built()
    state = model.state_dict()
    averages = {f'module.{k}': v for k, v in state.items()}
    for content in (
        dict(state_dict=averages),
        dict(state_dict=state, ema_state_dict=dict(averages, steps=1)),
        state,
        dict(state_dict=dict(state, **{'distill.x': torch.ones(1)})),
    ):
        check(model, content)


def test_weights_under_another_name_are_refused():
    """MMEngine looks under `state_dict` alone and would load nothing."""
    model = built()
    with pytest.raises(CheckpointError, match='0 of .* 0.0 % of the numbers'):
        check(model, dict(model=model.state_dict()))


@pytest.mark.parametrize('tta', [False, True])
def test_weights_that_no_checkpoint_has(lora, tta, capsys):
    config, model, base = lora
    state = model.state_dict()
    block = dict(type='AverageClsScoreTTA', module=config) if tta else config
    with pytest.raises(
        CheckpointError,
        match=r'saves only a part .*backbone\..*would be random',
    ):
        check(model, dict(state_dict=state), block)
    check(model, dict(state_dict=state), block, allow_partial=True)
    # a file that has them all the same, as a teacher's or a merged one
    check(model, dict(state_dict={**state, **base}), block)
