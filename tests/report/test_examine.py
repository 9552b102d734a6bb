"""Models on validation images, from work dirs to the page."""

import pytest
from parsed_page import Page, check_self_contained

from luminet_mm.report.examine import examine, template_values
from luminet_mm.report.groups import make_groups
from luminet_mm.report.page import write_report
from luminet_mm.report.runs import find_runs


def examined(root, images=None, pictures=2):
    groups = make_groups(find_runs([root]))
    said = []
    return examine(groups, groups[-1], images, pictures, said.append), said


def test_detectors(detectors):
    found, said = examined(detectors)
    assert said == [
        f'{name}: predicts 3 images'
        for name in ('student alone', 'LumiNet', 'teacher')
    ]
    assert found.notes == []
    assert found.by_class.head[1:] == ['student alone', 'LumiNet', 'teacher']
    assert 'AP on all 3 validation images' in found.by_class.caption
    assert 'luminet_seed0/epoch_2.pth' in found.by_class.caption
    assert set(found.teacher) >= {'coco/bbox_mAP', 'coco/bbox_mAP_75'}
    assert [title for title, _ in found.parts] == ['Gained most', 'Lost most']
    assert found.parameters['teacher'] > found.parameters['LumiNet'] > 0


def test_long_predictions_show_how_far_they_are(detectors, monkeypatch):
    monkeypatch.setattr('luminet_mm.report.examine.SECONDS', -1)
    _, said = examined(detectors)
    assert said[:3] == [
        'student alone: predicts 3 images',
        '  2 of 3',
        '  3 of 3',
    ]


def test_a_part_of_the_set_says_nothing_of_the_teacher_as_a_whole(detectors):
    found, _ = examined(detectors, images=2)
    assert 'on the first 2 of 3 validation images' in found.by_class.caption
    assert found.teacher == {}


def test_classifiers(classifiers):
    found, _ = examined(classifiers, pictures=9)
    assert found.notes == []
    assert [row[0] for row in found.by_class.rows] == [
        *('top-1', 'cat', 'dog', 'hen'),
    ]
    right = [float(row) for row in found.by_class.rows[0][1:3]]
    gained, lost = (len(cases) for _, cases in found.parts)
    assert (right[1] - right[0]) * 9 / 100 == pytest.approx(
        gained - lost, abs=0.1
    )
    assert gained + lost and found.confused is not None


@pytest.mark.parametrize('kind', ['detectors', 'classifiers'])
def test_the_page_shows_it(kind, request, tmp_path):
    root = request.getfixturevalue(kind)
    report = write_report([str(root)], tmp_path / 'x.html', say=str)
    page = Page((tmp_path / 'x.html').read_text())
    check_self_contained(page)
    assert page.open == []
    found, _ = examined(root, pictures=6)
    rows = [list(row) for row in page.tables['by-class'][1:]]
    assert rows == found.by_class.rows
    cases = [case for _, cases in found.parts for case in cases]
    images = [link for link in page.links if link.startswith('data:image')]
    assert len(images) == sum(len(case.tiles) for case in cases)
    teacher = page.table('results')['teacher']
    assert teacher[0] == '1' and report.teacher_scores
    assert page.table('costs')['teacher'][2].replace(',', '').isdigit()
    assert not any('no result of the teacher' in n for n in report.notes)
    diffs = page.texts['configs']
    assert 'student alone → teacher' in diffs
    broken = [n for n in report.notes if 'as its config builds them' in n]
    assert len(broken) == (2 if kind == 'detectors' else 0)


def test_images_that_are_gone_are_said(detectors, tmp_path):
    groups = make_groups(find_runs([detectors]))
    for group in groups:
        dataset = group.settings['val_dataloader']['dataset']
        dataset['data_root'] = str(tmp_path / 'gone')
    found = examine(groups, groups[-1], None, 2, str)
    assert len(found.notes) == 1
    assert 'Results by class and pictures are left out: ' in found.notes[0]
    assert 'gone' in found.notes[0]
    assert template_values(found)['pictures'] is None


def test_a_teacher_of_other_classes_is_left_out(detectors, monkeypatch):
    from luminet_mm.report import examine as module

    load = module.load_models

    def strange(*args):
        models, notes = load(*args)
        models[-1].classes = ['a', 'b']
        return models, notes

    monkeypatch.setattr(module, 'load_models', strange)
    found, said = examined(detectors)
    assert len(said) == 2
    assert 'teacher: not shown, since its classes are not' in found.notes[0]


def test_without_models_nothing_is_predicted(tmp_path):
    from made_runs import pair

    found, said = examined(pair(tmp_path, [0.1], [0.2]))
    assert said == [] and found.by_class is None
    assert 'no student can be loaded' in found.notes[-1]
