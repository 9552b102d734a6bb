"""Every path that reads a file: code in it never runs, and one line says so.

The teacher's cache has its own test (`tests/teachers/test_cache.py`).
"""

import json
import os

import pytest
import tiny
import torch
from mmengine.runner.checkpoint import CheckpointLoader

from luminet_mm.loading.strict import strict_loading


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    """What hostile files of a test would make."""
    path = tmp_path / 'made_by_the_file'
    yield path
    assert not path.exists()


@pytest.fixture
def hostile(tmp_path, marker):
    """A checkpoint with all weights of the tiny detector, and more."""
    path = tmp_path / 'hostile.pth'
    torch.save(
        dict(
            state_dict=tiny.build(tiny.detector()).state_dict(),
            meta=dict(epoch=1, iter=4, evil=Evil(marker)),
        ),
        path,
    )
    return path


@pytest.fixture
def refuses(run_tool, capsys):
    """Run a tool on a hostile file; its one-line error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            run_tool(*arguments)
        out = capsys.readouterr().err
        if isinstance(caught.value.code, str):
            out = caught.value.code
        assert caught.value.code
        error = out[out.rindex('error: ') :]
        assert 'Traceback' not in error
        assert 'it was refused and nothing in it was run' in error
        assert 'mkdir' in error and 'hostile.pth' in error
        return error

    return run


def test_load_from(refuses, config, dump, hostile):
    config.load_from = str(hostile)
    assert '--trust' in refuses('train', dump(config))


def test_resume(refuses, config, dump, hostile):
    refuses('train', dump(config), '--resume', hostile)


@pytest.mark.parametrize('prefix', [None, 'backbone.'])
def test_init_cfg(refuses, config, dump, hostile, prefix):
    config.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=str(hostile), prefix=prefix
    )
    refuses('train', dump(config))


def test_the_checkpoint_of_a_test(refuses, config, dump, hostile):
    refuses('test', dump(config), hostile)


def test_publish(refuses, hostile, tmp_path):
    refuses('publish', hostile, tmp_path / 'out.pth')
    assert not list(tmp_path.glob('out*'))


def test_convert_mdistiller(refuses, hostile, tmp_path):
    refuses('convert_mdistiller', 'resnet8x4', hostile, tmp_path / 'out.pth')


def test_analyze(refuses, distilled, dump, hostile):
    teacher = dump(dict_config(tiny.detector(width=12)), 'teacher.py')
    refuses('analyze', dump(distilled), hostile, '--teacher-config', teacher,
            '--teacher-checkpoint', hostile)  # fmt: skip


def dict_config(model):
    from mmengine.config import Config

    return Config(dict(model=model))


def test_trust_loads_it_on_purpose(run_tool, config, dump, tmp_path):
    """The one file here that runs."""
    trusted, made = tmp_path / 'trusted.pth', tmp_path / 'made_on_purpose'
    weights = tiny.build(tiny.detector()).state_dict()
    torch.save(dict(state_dict=weights, meta=dict(evil=Evil(made))), trusted)
    run_tool('test', dump(config), trusted, '--trust')
    assert made.is_dir()


@pytest.mark.parametrize(
    'name',
    [
        '{}',
        'open-mmlab://evil',
        'openmmlab://evil',
    ],
)
def test_schemes_of_mmengine(name, hostile, monkeypatch, tmp_path):
    """All of its roads lead to the strict loader."""
    import mmengine.runner.checkpoint as theirs

    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(
        'luminet_mm.loading.strict.get_external_models',
        lambda: dict(evil=str(hostile)),
    )
    with strict_loading():
        with pytest.raises(ValueError, match='nothing in it was run'):
            CheckpointLoader.load_checkpoint(name.format(hostile))
        with pytest.raises(ValueError, match='resnet5` has|Did you mean'):
            CheckpointLoader.load_checkpoint('torchvision://resnet5')
        with pytest.raises(ValueError, match='no model of that name'):
            CheckpointLoader.load_checkpoint('mmcls://nothing_like_it')
        with pytest.raises(ValueError, match='not supported'):
            CheckpointLoader.load_checkpoint('pavi://a.pth')
        # every scheme there is was replaced
        for loader in CheckpointLoader._schemes.values():
            assert loader.__module__ == 'luminet_mm.loading.strict'
    assert CheckpointLoader._schemes[''] is theirs.load_from_local


def test_a_config_in_the_metadata_is_not_run(
    run_tool, config, dump, tmp_path, marker
):
    """MMEngine runs `meta['config']`, a plain text, when it resumes."""
    path = dump(config)
    run_tool('train', path)
    last = tmp_path / 'work/epoch_1.pth'
    content = torch.load(last, weights_only=False)
    content['meta']['config'] = f'import os\nos.mkdir({str(marker)!r})\n'
    torch.save(content, last)
    run_tool(
        'train', path, '--resume', '--cfg-options', 'train_cfg.max_epochs=2'
    )
    assert (tmp_path / 'work/epoch_2.pth').is_file()


def test_a_page_in_the_place_of_a_checkpoint(
    run_tool, config, dump, tmp_path, capsys
):
    page = tmp_path / 'page.pth'
    page.write_text('<!DOCTYPE html><html>Log in</html>')
    with pytest.raises(SystemExit):
        run_tool('test', dump(config), page)
    error = capsys.readouterr().err
    assert 'is an HTML page' in error and '--trust' not in error


# -- configs that a data file names ------------------------------------------


def scalars(folder):
    """What MMEngine logs of a run, as far as analyze.py needs it."""
    path = folder / '20260101/vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('{"coco/bbox_mAP": 0.3, "step": 1}\n')
    return folder


def evil_texts(marker):
    run = f'import os\nos.mkdir({str(marker)!r})\n'
    model = "model = dict(type='{}', {})\n"
    return {
        'code': run,
        'code after a model': model.format('mmdet.FasterRCNN', '') + run,
        'call': f'model = dict(type=__import__("os").mkdir({str(marker)!r}))',
        'function': model.format('os.mkdir', f'path={str(marker)!r}'),
        'module': model.format('evil_module.Boom', ''),
        'bare module': model.format('evil_module', ''),
        'scope': "default_scope = 'evil_module'\n"
        + model.format(
            'mmpretrain.ImageClassifier', 'backbone=dict(type="A")'
        ),
        'teacher': model.format(
            'mmdet.KnowledgeDistillationSingleStageDetector',
            "teacher_config='evil.py', backbone=None, neck=None, "
            'bbox_head=None',
        ),
        'remote code': model.format(
            'mmpretrain.HuggingFaceClassifier',
            "model_name='a/b', trust_remote_code=True",
        ),
    }


@pytest.fixture
def evil_module(tmp_path, monkeypatch, marker):
    """Modules that a data file could have imported."""
    run = f'import os\nos.mkdir({str(marker)!r})\n'
    (tmp_path / 'lib/evil_module').mkdir(parents=True)
    (tmp_path / 'lib/evil_module/__init__.py').write_text(run)
    (tmp_path / 'lib/evil_module/registry.py').write_text(run)
    (tmp_path / 'evil.py').write_text(run)
    monkeypatch.syspath_prepend(tmp_path / 'lib')
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize('kind', evil_texts('x'))
def test_a_config_beside_results_is_data(
    run_tool, tmp_path, marker, evil_module, capsys, kind
):
    text = evil_texts(marker)[kind]
    alone = scalars(tmp_path / 'alone')
    (alone / 'config.py').write_text(text)
    run_tool('analyze', '--runs', alone, '--out', tmp_path / 'out')
    out = capsys.readouterr().out
    assert 'parameters are not counted' in out and 'config.py' in out
    assert '| alone |' in out and '| - | - | 0.3 |' in out


def test_a_config_that_a_summary_names_is_data(
    run_tool, tmp_path, marker, evil_module
):
    folder = tmp_path / 'sweep'
    scalars(folder / 'a_seed0')
    group = {
        'config': str(tmp_path / 'evil.py'),
        'runs': ['a_seed0'],
        'seconds': 0.1,
        'coco/bbox_mAP': dict(mean=0.3, std=0.0, last=[0.3], best=[0.3]),
    }
    (folder / 'summary.json').write_text(json.dumps(dict(a=group)))
    run_tool('analyze', '--runs', folder, '--out', tmp_path / 'out')


@pytest.mark.parametrize('kind', evil_texts('x'))
def test_the_config_in_a_published_file_is_data(
    run_tool, tmp_path, marker, evil_module, kind
):
    source = tmp_path / 'in.pth'
    # a distiller's: publishing looks up what it extends
    text = evil_texts(marker)[kind].replace(
        'dict(type', 'dict(teacher=1, type'
    )
    torch.save(dict(w=torch.ones(1), meta=dict(cfg=text)), source)
    run_tool('publish', source, tmp_path / 'out')
    assert len(list(tmp_path.glob('out-*.pth'))) == 1
