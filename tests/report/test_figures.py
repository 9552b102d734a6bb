"""Plots: what is drawn, and SVG that can stand in a page."""

import numpy as np
import pytest
from made_runs import config, pair, write_run

from luminet_mm.report import figures
from luminet_mm.report.groups import make_groups
from luminet_mm.report.runs import find_runs

AP = 'coco/bbox_mAP'


@pytest.fixture
def groups(tmp_path):
    return make_groups(find_runs([pair(tmp_path, [0.1, 0.2], [0.3])]))


def lines_of(figure):
    return [
        (list(line.get_xdata()), np.round(line.get_ydata(), 6).tolist())
        for line in figure.axes[0].get_lines()
    ]


def test_a_dot_for_each_run(groups):
    figure = figures.strip(groups, AP)
    drawn = [(np.round(x, 6).tolist(), list(y)) for x, y in lines_of(figure)]
    assert drawn[0] == ([30.0], [0])  # the distilled run, below
    assert drawn[2] == ([10.0, 20.0], [1, 1])
    labels = [each.get_text() for each in figure.axes[0].get_yticklabels()]
    assert labels == ['LumiNet', 'student alone']


def test_a_line_for_each_run(groups):
    figure = figures.validation(groups, AP)
    assert lines_of(figure) == [
        ([1, 2], [5.0, 10.0]),
        ([1, 2], [10.0, 20.0]),
        ([1, 2], [15.0, 30.0]),
    ]
    assert figure.axes[0].get_xlabel() == 'epoch'


def test_a_teachers_result_is_a_level(groups, tmp_path):
    boss = write_run(tmp_path / 'boss', config(epochs=1, depth=50), [0.4])
    teacher = make_groups(find_runs([boss]), str(boss))
    figure = figures.validation([*groups, *teacher], AP)
    assert lines_of(figure)[-1][1] == [40.0, 40.0]


def test_one_validation_is_no_curve(tmp_path):
    write_run(tmp_path / 'a', config(), [0.1])
    groups = make_groups(find_runs([tmp_path]))
    assert figures.validation(groups, AP) is None


def test_scalars_are_sorted_by_their_kind():
    names = ['loss_rpn_cls', 'share_kd', 'weight_kd', 'lr', 'mine', 'time']
    names += ['teacher_acc_kd', 'student_acc_kd', 'agreement_kd', 's0.acc']
    found = figures.kinds(names)
    assert found['weights of the losses'] == ['weight_kd']
    assert found['shares of the gradient'] == ['share_kd']
    assert found['losses'] == ['loss_rpn_cls']
    assert found['other scalars'] == ['mine']
    assert found['accuracy in training'] == ['s0.acc']
    assert found['teacher and student on the same rows, in percent'] == [
        'teacher_acc_kd',
        'student_acc_kd',
        'agreement_kd',
    ]


def test_a_side_has_its_colour_and_a_loss_its_style():
    names = ['teacher_acc_a', 'student_acc_a', 'teacher_acc_b', 'agreement_a']
    curves = {name: {1: 50.0, 2: 60.0} for name in names}
    ((_, figure),) = figures.training(curves)
    first, student, second, other = figure.axes[0].get_lines()
    assert first.get_color() == figures.COLOURS['teacher']
    assert second.get_color() == first.get_color() != student.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert other.get_color() != student.get_color()


def test_weights_of_any_size_are_seen():
    curves = {'weight_a': {1: 0.01, 2: 0.02}, 'weight_b': {1: 100.0}}
    ((kind, figure),) = figures.training(curves)
    assert figure.axes[0].get_yscale() == 'log'
    ((_, flat),) = figures.training({'weight_a': {1: 0.0, 2: 1.0}})
    assert flat.axes[0].get_yscale() == 'linear'


def test_a_long_curve_is_drawn_by_means_of_neighbours():
    points = {step: float(step % 2) for step in range(1, 4001)}
    ((_, figure),) = figures.training({'loss': points})
    ((x, y),) = lines_of(figure)
    assert len(x) == figures.POINTS and set(y) == {0.5}
    assert x[0] == 5.5


def test_values_that_are_not_finite_are_no_error():
    curves = {'loss': {1: float('nan'), 2: float('inf'), 3: 1.0}}
    ((_, figure),) = figures.training(curves)
    assert '<svg' in figures.to_svg(figure, 'x')


def test_svg_belongs_to_its_page(groups):
    text = figures.to_svg(figures.strip(groups, AP), 'one')
    assert text.startswith('<svg') and text.rstrip().endswith('</svg>')
    assert 'http' not in text and 'metadata' not in text
    assert 'currentColor' in text and 'student alone' in text
    ids = text.count(' id="')
    assert ids and ids == text.count(' id="one-')
    assert 'href="#one-' in text or 'url(#one-' in text
    assert text == figures.to_svg(figures.strip(groups, AP), 'one')
