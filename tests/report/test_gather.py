"""What the page is about: the groups compared, the verdict, the notes."""

from made_runs import LOSS, config, pair, write_run

from luminet_mm.report.gather import gather, verdict
from luminet_mm.report.runs import find_runs


def report_of(*folders, teacher=None):
    return gather(find_runs(folders), None, teacher)


def test_the_best_distilled_group_is_compared(tmp_path):
    pair(tmp_path, [0.1, 0.2], [0.3, 0.4])
    for seed in (0, 1):
        settings = config(dict(loss_kd=LOSS), seed=seed)
        write_run(tmp_path / f'kd_seed{seed}', settings, [0.1, 0.6])
    report = report_of(tmp_path)
    assert report.best.name == 'kd' and report.student.name == 'student'
    said = verdict(report)
    assert said[0].startswith('LumiNet (kd) ends 45.0 AP above the student')
    assert 'the best of 2 distilled groups' in said[1]


def test_the_way_to_the_teacher(tmp_path):
    pair(tmp_path, [0.1, 0.2], [0.3, 0.4])
    boss = write_run(tmp_path / 'boss', config(depth=50), [0.1, 0.55])
    report = report_of(tmp_path, teacher=str(boss))
    assert verdict(report)[-1] == (
        'The teacher has 55.0 AP: 50 % of the way to it is gained.'
    )
    weak = write_run(tmp_path / 'weak', config(depth=34), [0.1, 0.12])
    report = report_of(tmp_path, teacher=str(weak))
    assert verdict(report)[-1].endswith('no more than the student alone.')


def test_a_loss_goes_no_part_of_the_way(tmp_path):
    pair(tmp_path, [0.3, 0.4], [0.1, 0.2])
    boss = write_run(tmp_path / 'boss', config(depth=50), [0.1, 0.55])
    said = verdict(report_of(tmp_path, teacher=str(boss)))
    assert said[-1] == 'The teacher has 55.0 AP.'


def test_runs_that_go_on_are_noted(tmp_path):
    pair(tmp_path, [0.1, 0.2], [0.3, 0.4])
    late = config(dict(loss_luminet=dict(LOSS)), seed=7)
    write_run(tmp_path / 'luminet_seed7', late, [0.9])
    report = report_of(tmp_path)
    assert report.best.values('coco/bbox_mAP') == [0.3, 0.4]
    assert (
        'LumiNet: not counted, since not at its end: luminet_seed7 '
        '(at epoch 1 of 2).'
    ) in report.notes


def test_a_verdict_on_runs_that_go_on_says_so(tmp_path):
    pair(tmp_path, [0.1, 0.2], [])
    late = config(dict(loss_luminet=dict(LOSS)))
    write_run(tmp_path / 'luminet_seed7', late, [0.9])
    assert verdict(report_of(tmp_path))[-1] == (
        'Not at their end yet: LumiNet.'
    )


def test_other_settings_that_differ_are_named(tmp_path):
    pair(tmp_path, [0.1, 0.2], [])
    settings = config(dict(loss_kd=LOSS))
    settings['optim_wrapper']['optimizer']['lr'] = 0.5
    write_run(tmp_path / 'kd', settings, [0.1, 0.6])
    assert (
        'LumiNet and the student alone differ in more than the distillation '
        '(1 settings): optim_wrapper.optimizer.lr: 0.02 → 0.5.'
    ) in report_of(tmp_path).notes


def test_what_is_missing_is_noted(tmp_path):
    write_run(tmp_path / 'kd', config(dict(loss_kd=LOSS)), [0.1, 0.6])
    notes = report_of(tmp_path).notes
    assert any('No run of the student alone' in each for each in notes)
    write_run(tmp_path / 'student', config(), [0.1, 0.6])
    notes = report_of(tmp_path / 'student').notes
    assert 'No distilled run has a result yet.' in notes
