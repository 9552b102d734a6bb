"""A student that compares a part of the cached boxes in each step."""

import box_caching
import numpy as np
import pytest
import tiny
import torch
from box_caching import (
    BOX,
    BOXES,
    CLASSES,
    FLIP,
    HOOKS,
    KD,
    LUMINET,
    PACK,
    PIPELINE,
    batch,
    built,
    compared,
    data,
    model_config,
    ready,
)
from mmengine.config import Config
from mmengine.registry import DefaultScope

from luminet_mm.hooks import teacher_check
from luminet_mm.preflight.distill import teacher_problems
from luminet_mm.teachers.box_part import draw_boxes
from luminet_mm.teachers.cache_files import CacheError
from luminet_mm.teachers.cached_boxes import CachedBoxes

ALL = dict(loss_luminet=LUMINET, loss_kd=KD, loss_box=BOX)
PART = 5


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return box_caching.make_photos(tmp_path_factory.mktemp('part') / 'photos')


@pytest.fixture(scope='module')
def whole(photos):
    """A teacher whose answers are cached, and which is the student."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        found = box_caching.teacher_block(photos.parent, width=8)
        box_caching.write(found, data(photos))
    return found


@pytest.fixture
def part(whole):
    return dict(whole, boxes_per_step=PART)


def by_image(model, raw):
    """Rows of the teacher, RoIs and labels of each image."""
    found = compared(model, raw)
    _, (scores, deltas), about = found['loss_box']
    assert torch.equal(found['loss_kd'][1], scores)
    parts = [scores, deltas, about.rois[:, 1:], about.labels]
    parts = [each.unflatten(0, (len(raw['inputs']), -1)) for each in parts]
    return list(zip(*parts, strict=True))


def test_the_rows_are_the_drawn_ones_of_all(photos, whole, part):
    dataset = built(data(photos))[0]
    np.random.seed(0)
    raw = batch(dataset, [4, 1, 2])
    every = by_image(ready(whole, data(photos), **ALL), raw)
    model = ready(part, data(photos), **ALL)
    for step in (0, 17):
        model.teacher.at_step(3, step)
        found = by_image(model, raw)
        for all_of, some, name in zip(every, found, (40, 10, 20), strict=True):
            drawn = draw_boxes(3, step, str(name), BOXES, PART)
            for field, its in zip(all_of, some, strict=True):
                assert torch.equal(field[drawn], its)


def test_row_i_of_the_student_is_about_the_same_box(photos, part):
    """A student that is its own teacher says what the cache says of it."""
    model = ready(part, data(photos), **ALL)
    model.load_state_dict(torch.load(part['checkpoint']), strict=False)
    model.teacher.at_step(0, 1)
    student, teacher, about = compared(
        model, batch(built(data(photos))[0], [5, 0])
    )['loss_kd']
    assert student.shape == (2 * PART, CLASSES + 1)
    assert about.rois[:, 0].tolist() == [0] * PART + [1] * PART
    ends = teacher.amax(dim=1) - teacher.amin(dim=1)
    gap = (student - teacher).abs() - 0.51 * ends[:, None] / 254
    assert gap.max() < 2e-3 and teacher.std() > 1


def test_a_draw_does_not_depend_on_the_place_in_a_batch(photos, part):
    model = ready(part, data(photos), **ALL)
    steps = [*PIPELINE[:3], dict(FLIP, prob=1.0), PACK]
    dataset = built(data(photos, steps))[0]
    model.teacher.at_step(1, 2)
    first = by_image(model, batch(dataset, [3, 0]))
    for order, place in (([0, 3], 1), ([1, 2, 3], 2), ([3], 0)):
        for one, other in zip(
            first[0], by_image(model, batch(dataset, order))[place]
        ):
            torch.testing.assert_close(one, other)


def runner(photos, work_dir, block, hooks=HOOKS, **kwargs):
    model = model_config(block, **ALL)
    # MMEngine saves no random state, so nothing else may be drawn
    model.train_cfg.rpn.sampler.num = 10**6
    model.train_cfg.rcnn.sampler.num = 10**6
    steps = [*PIPELINE[:3], dict(FLIP, prob=1.0), PACK]
    return box_caching.runner(photos, work_dir, model, steps, hooks, **kwargs)


def test_a_resumed_run_ends_bit_for_bit_as_one_that_was_not_stopped(
    photos, part, tmp_path, monkeypatch
):
    told = []
    at_step = CachedBoxes.at_step
    monkeypatch.setattr(
        CachedBoxes,
        'at_step',
        lambda self, *now: told.append(now) or at_step(self, *now),
    )
    run = runner(photos, tmp_path / 'a', part)
    run.train()
    assert told == [(7, step) for step in range(6)]
    runner(photos, tmp_path / 'b', part, max_epochs=1).train()
    told.clear()
    resumed = runner(
        photos, tmp_path / 'b', part, resume=True, experiment_name='resumed'
    )
    resumed.train()
    assert told == [(7, step) for step in range(3, 6)]
    expected, found = run.model.state_dict(), resumed.model.state_dict()
    assert list(found) == list(expected)
    assert not any('draw' in key for key in found)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_ranks_with_other_seeds_draw_with_that_of_the_first(
    photos, part, tmp_path, monkeypatch
):
    """As MMEngine's `diff_rank_seed` gives them."""

    def from_the_first(values):
        if values == [7]:
            values[0] = 4

    monkeypatch.setattr(teacher_check, 'broadcast_object_list', from_the_first)
    run = runner(photos, tmp_path, part, max_epochs=1)
    run.train()
    assert run.model.teacher.part.now == (4, 2)


def test_a_step_that_nobody_counts(photos, part):
    model = ready(part, data(photos), **ALL)
    with pytest.raises(CacheError, match='a loop of your own calls model.t'):
        compared(model, batch(built(data(photos))[0], [0]))


@pytest.mark.parametrize(
    ('count', 'message'),
    [
        (BOXES + 1, r'13, and the cache has 12 boxes of each view\. Set 12 '),
        (0, 'set a whole number of boxes'),
    ],
)
def test_what_a_cache_cannot_give(whole, count, message):
    with pytest.raises(ValueError, match=rf'boxes_per_step: .*{message}'):
        tiny.build(model_config(dict(whole, boxes_per_step=count)))


def test_it_is_an_option_of_a_teacher_with_a_cache(part):
    (live,) = teacher_problems(
        'model.teacher',
        dict(Config(dict(part)), boxes_per_steps=3),
        'mmdet',
    )
    assert "did you mean 'boxes_per_step'?" in live
