"""The runs of a grid: names, options, and what a command line cannot say."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from mmengine.config import Config

from luminet_mm.launch.grid import Cell, choose, make_cells


def test_grid_is_a_product():
    found = make_cells(
        dict(
            kd=dict(
                config='c.py',
                seeds=[0, 1],
                options={'x': 5},
                grid={'a.tau': [1, 2], 'a.w': [3]},
            )
        )
    )
    assert [c.name for c in found] == [
        # a sweep that is stopped has something of each
        'kd_tau1_w3_seed0',
        'kd_tau2_w3_seed0',
        'kd_tau1_w3_seed1',
        'kd_tau2_w3_seed1',
    ]
    assert found[3].options == {
        'x': 5,
        'a.tau': 2,
        'a.w': 3,
        'randomness.seed': 1,
    }
    assert found[1].group == 'kd_tau2_w3'
    with pytest.raises(ValueError, match='runs.kd.seeds'):
        make_cells(dict(kd=dict(config='c.py')))


def two_groups():
    tau = {'a.tau': [1, 2]}
    return make_cells(
        dict(
            student=dict(config='c.py', seeds=[0, 7]),
            kd=dict(config='c.py', seeds=[0, 1], grid=tau),
        )
    )


@pytest.mark.parametrize(
    ('groups', 'seeds', 'expected'),
    [
        (None, [7], ['student_seed7']),
        (['student'], None, ['student_seed0', 'student_seed7']),
        (['kd_tau2', 'student'], [0], ['student_seed0', 'kd_tau2_seed0']),
        (['kd*'], [1, 7], ['kd_tau1_seed1', 'kd_tau2_seed1']),
    ],
)
def test_a_part_of_a_grid(groups, seeds, expected):
    assert [c.name for c in choose(two_groups(), groups, seeds)] == expected


@pytest.mark.parametrize(
    ('groups', 'seeds', 'message'),
    [
        (['kd'], None, "no group 'kd'. Its groups: student, kd_tau1, kd_tau2"),
        (None, [0, 3], 'no seed 3. Its seeds: 0, 1, 7'),
        (['kd*'], [7], r'No group of kd\* has a seed of 7'),
    ],
)
def test_a_part_that_a_grid_does_not_have_is_refused(groups, seeds, message):
    with pytest.raises(ValueError, match=message):
        choose(two_groups(), groups, seeds)


def test_names_of_settings_are_names_of_folders():
    (cell,) = make_cells(
        dict(
            kd=dict(
                config='c.py',
                seeds=[0],
                grid={'model.teacher.checkpoint': ['work_dirs/a_b.pth']},
            )
        )
    )
    assert cell.name == 'kd_checkpointwork_dirs-a_b.pth_seed0'


@pytest.mark.parametrize('value', [{}, dict(x='a b'), [{}], 'a,b', []])
def test_options_that_a_command_line_mangles_are_refused(value):
    run = dict(config='c.py', seeds=[0], options={'model.distill': value})
    with pytest.raises(ValueError, match=r'runs\.kd: model\.distill.* is'):
        make_cells(dict(kd=run))
    run = dict(config='c.py', seeds=[0], grid={'model.distill': [value]})
    with pytest.raises(ValueError, match=r'runs\.kd: model\.distill.* is'):
        make_cells(dict(kd=run))


def test_a_whole_loss_is_an_option(tmp_path):
    """What a cell's command line says is merged as it was written."""
    loss = dict(
        type='luminet_mm.ATLoss',
        signal=['backbone.layer1', 'backbone.layer2'],
        levels=[-1],
        connector=dict(type='mlp', hidden=1024),
        loss_weight=1e-05,
        sync_stats=False,
        tau=None,
    )
    (tmp_path / 'c.py').write_text('model = dict(distill=dict(loss_b=1))')
    (cell,) = make_cells(
        dict(
            at=dict(
                config=str(tmp_path / 'c.py'),
                seeds=[3],
                grid={'model.distill': [dict(loss_a=loss)]},
            )
        )
    )
    assert re.fullmatch(r'[\w.+-]+', cell.name)
    cfg = cell.load()
    assert cfg.model.distill == dict(loss_b=1, loss_a=loss)
    assert cfg.randomness.seed == 3


def test_threads_read_configs_one_after_the_other(tmp_path, monkeypatch):
    """Two that parse at once can end in a SystemError of Python 3.11."""
    inside, most = [], []
    read = Config.fromfile

    def slowly(path):
        inside.append(path)
        most.append(len(inside))
        time.sleep(0.02)
        cfg = read(path)
        inside.remove(path)
        return cfg

    monkeypatch.setattr(Config, 'fromfile', slowly)
    cells = []
    for index in range(4):
        path = tmp_path / f'{index}.py'
        path.write_text(f'x = {index}')
        cells.append(Cell(str(index), str(path)))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(Cell.settings, cells))
    assert len({each['sha256'] for each in found}) == 4
    assert max(most) == 1
