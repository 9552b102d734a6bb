"""Ratios of a student's layouts, on tiny networks."""

import json

import pytest
from mmengine.config import Config

from luminet_mm.timing import layouts
from luminet_mm.timing.step import BenchmarkError

NAMES = [
    'student, usual',
    'distilled, usual',
    'student, channels_last',
    'distilled, channels_last',
]


@pytest.mark.parametrize('precision', ['float32', 'bf16'])
def test_steps_of_each_layout(config, precision):
    cfg = config('classifier')
    runs = layouts.make_steps(cfg, 2, (32, 32), precision)
    assert list(runs) == NAMES
    assert 'student' not in cfg.model  # the given config is left alone
    seen = {}
    for name, run in runs.items():
        model = run.func.model
        (loss,) = model.distill.values()
        handles = [
            model.backbone.layer2[0].conv1.register_forward_hook(
                lambda module, args, out, name=name: seen.update(
                    {name: (args[0].is_contiguous(), str(out.dtype))}
                )
            ),
            loss.register_forward_hook(
                lambda *_, name=name: seen.update({f'{name}, loss': True})
            ),
        ]
        run()
        for handle in handles:
            handle.remove()
    kind = dict(float32='torch.float32', bf16='torch.bfloat16')[precision]
    assert seen == {
        **{name: ('usual' in name, kind) for name in NAMES},
        **{f'{name}, loss': True for name in NAMES if 'distilled' in name},
    }


def test_a_detector_in_turns(config):
    runs = layouts.make_steps(config('detector'), 1, (64, 64), 'float32')
    calls = []
    for name in runs:
        runs[name] = lambda name=name: calls.append(name)
    seconds = layouts.cpu_seconds(runs, rounds=2)
    assert calls == [NAMES[-1], *NAMES[:3], *NAMES, *NAMES[1:], NAMES[0]]
    assert {len(each) for each in seconds.values()} == {2}


def test_the_command_writes_what_it_prints(config, tmp_path, capsys):
    config('classifier').dump(tmp_path / 'run.py')
    layouts.main(
        [str(tmp_path / 'run.py'), '--batch-size', '2', '--image-size']
        + ['32', '32', '--rounds', '1', '--json', str(tmp_path / 'out.json')]
    )
    said = capsys.readouterr().out
    written = json.loads((tmp_path / 'out.json').read_text())
    assert written['processor'] and written['rounds'] == 1
    for precision, entries in written['ratios'].items():
        assert entries == layouts.ratios(written['seconds'][precision])
        assert (
            f'{precision:9}student    {entries["student"]["median"]:.3f}'
            in said
        )
    assert list(written['ratios']) == ['float32', 'bf16']
    over = layouts.over_float32(written['seconds'])
    assert written['bf16 / float32'] == over and list(over) == NAMES
    for name, entry in over.items():
        assert f'bf16 / float32  {name:26}{entry["median"]:.3f}' in said


def test_low_precision_is_compared_with_the_usual_layout_of_float32():
    seconds = dict(
        float32={'student, usual': [2, 4], 'student, channels_last': [9, 9]},
        bf16={'student, usual': [1, 3], 'student, channels_last': [1, 1]},
    )
    over = layouts.over_float32(seconds)
    assert over['student, usual'] == dict(median=0.625, low=0.5, high=0.75)
    assert over['student, channels_last']['median'] == 0.375


def test_a_config_without_distillation_is_refused():
    cfg = Config(dict(model=dict(type='mmdet.FasterRCNN')))
    with pytest.raises(BenchmarkError, match='no model.teacher and model.dis'):
        layouts.make_steps(cfg, 1, (32, 32), 'float32')
