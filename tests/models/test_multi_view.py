"""MultiViewClsDataPreprocessor: views of images become one batch."""

import copy
from pathlib import Path

import numpy as np
import pytest
import tiny_cls
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope
from mmpretrain.datasets import BaseDataset
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample

from luminet_mm.losses import mlld_loss

ROOT = Path(__file__).parents[2]
COLLATE = {'pseudo': pseudo_collate, 'default': default_collate}
each_collate = pytest.mark.parametrize(
    'collate', COLLATE.values(), ids=COLLATE
)


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def preprocessor(**options):
    return MODELS.build(
        dict(
            type='luminet_mm.MultiViewClsDataPreprocessor',
            num_classes=tiny_cls.NUM_CLASSES,
            mean=[120.0, 110.0, 100.0],
            std=[60.0, 55.0, 50.0],
            to_rgb=True,
            **options,
        )
    )


def loaded(collate, num_views=2, num_images=3):
    """What a data loader gives, and the same views one by one."""
    raw = [tiny_cls.batch(num_images, seed=seed) for seed in range(num_views)]
    samples = raw[0]['data_samples']
    data = collate(
        [
            dict(inputs=list(views), data_samples=sample)
            for *views, sample in zip(*(b['inputs'] for b in raw), samples)
        ]
    )
    apart = [
        dict(inputs=b['inputs'], data_samples=copy.deepcopy(samples))
        for b in raw
    ]
    return data, apart


@each_collate
@pytest.mark.parametrize('num_views', [1, 2, 3])
@pytest.mark.parametrize('training', [True, False])
def test_views_follow_one_another_each_as_stock(collate, num_views, training):
    ours = preprocessor()
    data, apart = loaded(collate, num_views)
    result = ours(data, training)
    stock = [ClsDataPreprocessor.forward(ours, b, training) for b in apart]
    assert result['inputs'].equal(torch.cat([b['inputs'] for b in stock]))
    labels = [sample.gt_label for sample in result['data_samples']]
    expected = [s.gt_label for b in stock for s in b['data_samples']]
    assert torch.cat(labels).equal(torch.cat(expected))
    assert len(labels) == 3 * num_views


@each_collate
def test_one_view_is_treated_as_by_the_stock_class(collate):
    raw = tiny_cls.batch(3)
    items = [dict(inputs=i, data_samples=s) for i, s in zip(*raw.values())]
    ours = preprocessor()
    result = ours(collate(copy.deepcopy(items)))
    stock = ClsDataPreprocessor.forward(ours, collate(items))
    assert result['inputs'].equal(stock['inputs'])
    assert len(result['data_samples']) == 3


def test_samples_are_copies_with_all_that_is_known():
    data, _ = loaded(pseudo_collate)
    for index, sample in enumerate(data['data_samples']):
        sample.set_metainfo(dict(sample_idx=index, img_path=f'{index}.png'))
    samples = preprocessor(to_onehot=True)(data, True)['data_samples']
    assert [each.sample_idx for each in samples] == [0, 1, 2, 0, 1, 2]
    assert samples[4].img_path == '1.png'
    assert len({id(each) for each in samples}) == 6
    assert 'gt_score' in samples[0]
    assert not any('gt_score' in each for each in data['data_samples'])


def test_without_samples():
    data, _ = loaded(pseudo_collate)
    del data['data_samples']
    result = preprocessor()(data)
    assert result['inputs'].shape == (6, 3, 32, 32)
    assert result['data_samples'] is None


def test_mixup_mixes_each_view_within_itself():
    """Pixels say of which image and view they are, and how much."""
    views = [
        [torch.full((1, 4, 4), 10.0**label + seed) for label in range(5)]
        for seed in (0, 50000)
    ]
    samples = [DataSample().set_gt_label(label) for label in range(5)]
    ours = MODELS.build(
        dict(
            type='luminet_mm.MultiViewClsDataPreprocessor',
            num_classes=5,
            batch_augments=dict(augments=dict(type='Mixup', alpha=5.0)),
        )
    )
    torch.manual_seed(0)
    np.random.seed(0)
    result = ours(dict(inputs=views, data_samples=samples), True)
    scores = torch.stack([each.gt_score for each in result['data_samples']])
    pixels = scores @ (10.0 ** torch.arange(5.0))
    pixels[5:] += 50000
    torch.testing.assert_close(result['inputs'][:, 0, 0, 0], pixels)
    assert (scores.amax(1) < 1).any()
    assert not scores[:5].equal(scores[5:])  # drawn for each view
    for sample, label in zip(samples, range(5)):
        assert sample.gt_label == label and 'gt_score' not in sample


def test_views_of_different_sizes_are_named():
    data, _ = loaded(default_collate)
    data['inputs'][1] = data['inputs'][1][..., :24]
    with pytest.raises(ValueError, match='of 32x32, 32x24 pixels.*MultiView'):
        preprocessor()(data)


# -- the transforms ---------------------------------------------------------


@pytest.fixture(scope='module')
def pipeline():
    path = ROOT / 'configs/_base_/datasets/cifar_two_views.py'
    return Config.fromfile(path).two_view_pipeline


def strong_view(pipeline):
    """RandAugment and Cutout of the second view."""
    return [TRANSFORMS.build(t) for t in pipeline[0].transforms[1][2:]]


def test_operations_are_those_of_the_release(pipeline):
    augment, _ = strong_view(pipeline)
    assert len(augment.transforms) == 14 and augment.num_policies == 2
    draw = np.random.default_rng(0)
    image = draw.integers(60, 200, (32, 32, 3), np.uint8)
    np.random.seed(0)
    idle = []
    for operation, policy in zip(augment.transforms, augment.policies):
        if not policy.get('prob'):
            assert operation(dict(img=image))['img'] is image
            idle.append(policy)
            continue
        results = [operation(dict(img=image))['img'] for _ in range(5)]
        assert all(r.shape == (32, 32, 3) for r in results)
        assert all(r.dtype == np.uint8 for r in results)
        # a shift by less than half a pixel is none
        assert any((result != image).any() for result in results), policy
        if 'magnitude_range' not in policy:
            continue
        drawn = [operation.random_magnitude() for _ in range(200)]
        low, high = policy['magnitude_range']
        assert low <= min(drawn) < low + 0.05 * (high - low)
        assert high >= max(drawn) > high - 0.05 * (high - low)
    assert len(idle) == 1


def test_moved_in_and_cut_out_pixels_have_the_releases_colours(pipeline):
    augment, cutout = strong_view(pipeline)
    white = np.full((32, 32, 3), 255, np.uint8)
    np.random.seed(0)
    for operation, policy in zip(augment.transforms, augment.policies):
        if policy['type'] in ('Rotate', 'Shear', 'Translate'):
            assert policy['pad_val'] == 0
            values = np.unique(operation(dict(img=white))['img'])
            assert set(values) == {0, 255}, policy
    sizes = set()
    for _ in range(300):
        cut = (cutout(dict(img=white))['img'] == (125, 123, 114)).all(2)
        assert cut.any()
        sizes.add(cut.any(0).sum())
    assert sizes == set(range(1, 17))


# -- training ---------------------------------------------------------------


class Images(BaseDataset):
    """Random images with the pipeline of the configs."""

    METAINFO = dict(classes=tiny_cls.CLASSES)

    def load_data_list(self):
        draw = np.random.default_rng(0)
        return [
            dict(
                img=draw.integers(0, 256, (32, 32, 3), np.uint8),
                gt_label=index % tiny_cls.NUM_CLASSES,
            )
            for index in range(8)
        ]


def loader(pipeline, collate):
    return dict(
        batch_size=4,
        num_workers=0,
        dataset=Images(ann_file='', pipeline=pipeline),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type=f'{collate}_collate'),
    )


def train(model, pipeline, work_dir, collate='pseudo'):
    """One epoch of two steps, and a validation with one view."""
    model['data_preprocessor']['type'] = (
        'luminet_mm.MultiViewClsDataPreprocessor'
    )
    runner = tiny_cls.runner(
        model,
        work_dir,
        max_epochs=1,
        train_dataloader=loader(pipeline, collate),
        **tiny_cls.validation(),
    )
    runner.train()
    return runner


def logged(runner, key):
    values, counts = runner.message_hub.get_scalar(key).data
    assert np.isfinite(values).all()
    return values / counts


MLLD = dict(type='luminet_mm.MLLDLoss', signal='logits', views=2)


def test_a_stock_classifier_trains_with_two_views(tmp_path, pipeline):
    runner = train(tiny_cls.classifier(), pipeline, tmp_path, 'default')
    assert len(logged(runner, 'train/loss')) == 2
    assert 0 <= logged(runner, 'val/accuracy/top1')[0] <= 100


def test_mlld_trains_with_two_views(tmp_path, pipeline):
    """Beside a loss that knows of no views, and with labels."""
    model = tiny_cls.distiller(
        loss_mlld=MLLD,
        loss_dkd=dict(type='luminet_mm.DKDLoss', signal='logits'),
    )
    runner = train(model, pipeline, tmp_path)
    for key in ('loss_cls', 'loss_mlld', 'loss_dkd'):
        values = logged(runner, f'train/{key}')
        assert len(values) == 2 and (values > 0).all()
    assert logged(runner, 'val/accuracy/top1') >= 0


def test_a_step_is_that_of_both_views_losses(pipeline):
    config = tiny_cls.distiller(loss_mlld=dict(MLLD, loss_weight=0.9))
    config['data_preprocessor']['type'] = (
        'luminet_mm.MultiViewClsDataPreprocessor'
    )
    model = tiny_cls.build(config)
    images = Images(ann_file='', pipeline=pipeline)
    np.random.seed(0)
    data = model.data_preprocessor(pseudo_collate([*images]), True)
    losses = model(**data, mode='loss')
    # batch norm in training normalises alike the second time
    student = model.head(model.extract_feat(data['inputs']))
    with torch.no_grad():
        teacher = model.teacher.model
        theirs = teacher.head(teacher.extract_feat(data['inputs']))
    expected = sum(
        mlld_loss(student[part], theirs[part], taus=[2, 3, 4, 5, 6])
        for part in (slice(8), slice(8, None))
    )
    torch.testing.assert_close(losses['loss_mlld'], 0.9 * expected)
    labels = torch.arange(8).repeat(2) % tiny_cls.NUM_CLASSES
    torch.testing.assert_close(
        losses['loss_cls'], F.cross_entropy(student, labels)
    )


def test_a_loss_of_views_refuses_a_batch_of_one_view(tmp_path, pipeline):
    weak = [*pipeline[0].transforms[0], pipeline[1]]
    with pytest.raises(ValueError, match='loss_mlld .* 4 rows are not 2 view'):
        train(tiny_cls.distiller(loss_mlld=MLLD), weak, tmp_path)
