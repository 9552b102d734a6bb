"""ReplayDataset and ReplaySampler: the same views in any order and process."""

import random

import numpy as np
import pytest
import torch
from mmengine.registry import DATA_SAMPLERS, DATASETS, DefaultScope
from mmengine.runner import Runner

from luminet_mm.datasets import HandwrittenDigits, ReplaySampler

INNER = dict(
    type='luminet_mm.HandwrittenDigits',
    num_images=10,
    pipeline=[
        dict(type='RandomCrop', crop_size=8, padding=3),  # NumPy's numbers
        dict(type='torchvision/RandomInvert'),  # torch's
        dict(type='PackInputs'),
    ],
)
INNER['pipeline'].insert(1, dict(type='NumpyToPIL'))
INNER['pipeline'].insert(3, dict(type='PILToNumpy'))


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def replayed(**kwargs):
    return DATASETS.build(
        dict(
            dict(type='luminet_mm.ReplayDataset', rounds=3, dataset=INNER),
            **kwargs,
        )
    )


def images(dataset, views):
    return {
        item['data_samples'].view: item['inputs']
        for item in dataset.__getitems__(views)
    }


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    return all(
        torch.equal(image, theirs[view]) for view, image in ours.items()
    )


def test_a_view_is_the_same_in_any_order():
    dataset = replayed()
    views = list(range(30))
    first = images(dataset, views)
    assert same(first, images(replayed(), views[::-1]))
    assert torch.equal(dataset[17]['inputs'], first[17])
    assert not same(first, images(replayed(seed=1), views))


def test_rounds_differ_and_labels_stay():
    dataset = replayed()
    assert len(dataset) == 10
    shown = images(dataset, [4, 14, 24])
    assert any(
        not torch.equal(shown[4], image) for image in (shown[14], shown[24])
    )
    labels = {int(dataset[view]['data_samples'].gt_label) for view in shown}
    assert labels == {HandwrittenDigits(pipeline=[])[4]['gt_label']}
    assert (
        dataset[24]['data_samples'].sample_idx
        == dataset.get_data_info(4)['sample_idx']
    )
    for view in (30, -1):
        with pytest.raises(IndexError, match='there are 3'):
            dataset[view]


def test_the_global_random_state_is_left_alone():
    def draw():
        return random.random(), np.random.normal(), torch.rand(()).item()

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    np.random.normal()  # NumPy keeps a second number for the next call
    python, numpy = random.getstate(), np.random.get_state()
    state = torch.get_rng_state()
    expected = draw()
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(state)
    images(replayed(), [3, 12])
    assert draw() == expected


def loader(workers, **sampler):
    return Runner.build_dataloader(
        dict(
            batch_size=4,
            num_workers=workers,
            persistent_workers=workers > 0,
            dataset=dict(
                type='luminet_mm.ReplayDataset', rounds=3, dataset=INNER
            ),
            sampler=dict(type='luminet_mm.ReplaySampler', **sampler),
        ),
        seed=3,
    )


def epochs(data, numbers):
    for epoch in numbers:
        data.sampler.set_epoch(epoch)
        yield {
            sample.view: image
            for batch in data
            for sample, image in zip(batch['data_samples'], batch['inputs'])
        }


def test_epochs_take_turns_with_the_rounds():
    data = loader(0)
    seen = list(epochs(data, range(4)))
    for epoch, views in enumerate(seen):
        first = epoch % 3 * 10
        assert set(views) == set(range(first, first + 10))
    assert list(seen[0]) != list(seen[3]), 'shuffled anew'
    assert same(seen[0], seen[3])
    # a resumed run begins with a later epoch
    assert same(next(epochs(loader(0), [2])), seen[2])


def test_workers_that_persist_see_the_same_views():
    for ours, theirs in zip(
        epochs(loader(2), range(2)), epochs(loader(0), range(2)), strict=True
    ):
        assert list(ours) == list(theirs)
        assert same(ours, theirs)


def test_each_rank_has_its_part_and_repeats_are_repeats(monkeypatch):
    dataset = replayed()
    drawn = []
    for rank in range(3):
        monkeypatch.setattr(
            'mmengine.dataset.sampler.get_dist_info',
            lambda rank=rank: (rank, 3),
        )
        sampler = ReplaySampler(dataset, seed=1)
        sampler.set_epoch(1)
        drawn += list(sampler)
        assert len(sampler) == 4
    assert set(drawn) == set(range(10, 20))
    assert len(drawn) == 12, 'rounded up'


def test_other_data_sets_are_refused():
    with pytest.raises(TypeError, match='luminet_mm.ReplayDataset'):
        DATA_SAMPLERS.build(
            dict(
                type='luminet_mm.ReplaySampler',
                dataset=HandwrittenDigits(pipeline=[]),
            )
        )
    with pytest.raises(TypeError, match='give the config'):
        replayed(dataset=HandwrittenDigits(pipeline=[]))


@pytest.mark.parametrize('wrong', [dict(rounds=0), dict(seed=-1)])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=f'ReplayDataset.{next(iter(wrong))}'):
        replayed(**wrong)
