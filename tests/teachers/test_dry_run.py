"""Dry runs: which images all models see once when a distiller is built."""

import re

import pytest
import tiny
import tiny_cls
import tiny_dense
from mmengine.config import Config
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.registry import MODELS

from luminet_mm.stock import stock_config
from luminet_mm.teachers.dry_run import read_size


@MODELS.register_module(force=True)
class FlatHead(LinearClsHead):
    def pre_logits(self, feats):
        return feats[-1].flatten(1)


HINT = dict(
    loss_hint=dict(
        type='luminet_mm.FitNetLoss', signal='backbone', levels=[-1]
    )
)


def test_windows_need_larger_images(mmpretrain_scope):
    model = tiny_cls.build(tiny_cls.distiller(teacher=tiny_cls.swin(), **HINT))
    assert model.teachers.dry_sizes == {0: (224, 224)}
    data = tiny_cls.prepared(model, size=224, num_images=2)
    assert model.loss(data['inputs'], data['data_samples'])['loss_hint'] > 0


def test_a_student_with_windows(mmpretrain_scope):
    losses = dict(loss_pkt=dict(type='luminet_mm.PKTLoss', signal='feats'))
    config = tiny_cls.distiller(student=tiny_cls.swin(), **losses)
    model = tiny_cls.build(config)
    data = tiny_cls.prepared(model, size=224, num_images=2)
    assert model.loss(data['inputs'], data['data_samples'])['loss_pkt'] > 0


def test_sizes_are_multiples_of_all_divisors():
    config = tiny.distiller()
    theirs = config.teacher['config']['model'].data_preprocessor
    theirs.pad_size_divisor = 64
    model = tiny.build(config)
    assert model.teachers.dry_sizes == {0: (128, 192)}


@pytest.mark.parametrize(
    ('given', 'size'), [(96, (96, 96)), ((64, 96), (64, 96))]
)
def test_the_size_can_be_set(mmpretrain_scope, given, size):
    config = tiny_cls.distiller(**HINT)
    model = tiny_cls.build(dict(config, dry_run_size=given))
    assert model.teachers.dry_sizes == {0: size}
    stock = stock_config(Config(dict(model=dict(config, dry_run_size=given))))
    assert 'dry_run_size' not in stock.model


def test_an_error_says_dry_run_and_how_to_set_the_size(mmpretrain_scope):
    config = dict(tiny_cls.distiller(teacher=tiny_cls.swin()), dry_run_size=64)
    message = (
        r'dry run: the teacher \(ImageClassifier\) does not run on random '
        r'images of 64x64 pixels and 3 channel\(s\): AssertionError'
    )
    with pytest.raises(ValueError, match=message):
        tiny_cls.build(config)


def test_when_no_size_fits(mmpretrain_scope):
    """Where all sizes fail alike it is not the size: three are enough."""
    patches = tiny_cls.classifier('vit')
    patches['head']['in_channels'] = 7
    good = tiny_cls.classifier('vit')
    losses = dict(loss_x=dict(type='luminet_mm.PKTLoss', signal='feats'))
    for whose, sides in (
        (r'teacher \(ImageClassifier', dict(teacher=patches)),
        (
            r'student \(ClassifierDistiller',
            dict(student=dict(patches), teacher=good),
        ),
    ):
        with pytest.raises(
            ValueError, match=rf'dry run: the {whose}\).*mat1 and mat2'
        ) as info:
            tiny_cls.build(tiny_cls.distiller(**sides, **losses))
        assert 'such as a head' in str(info.value)
        assert 'set model.dry_run_size' in str(info.value)


@pytest.mark.parametrize('family', [tiny, tiny_dense])
@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_detectors_name_the_side_too(family, whose):
    sides = dict(student=family.detector(), teacher=family.detector())
    sides[whose].neck.in_channels = [9, 9, 9, 9]
    losses = dict(loss_x=dict(type='luminet_mm.PKDLoss', signal='neck'))
    with pytest.raises(
        ValueError, match=rf'dry run: the {whose} \(.*RuntimeError'
    ) as info:
        family.build(family.distiller(**sides, **losses))
    assert 'model.dry_run_size' in str(info.value)


def test_when_sizes_fail_in_different_ways(mmpretrain_scope):
    """A linear layer on a whole map takes one size alone."""
    model = tiny_cls.classifier()
    model['neck'] = None
    model['head']['in_channels'] = 7 * 7 * 64
    model['backbone']['out_indices'] = (3,)
    model['head']['type'] = 'FlatHead'
    with pytest.raises(ValueError, match='sizes were tried. The last') as info:
        tiny_cls.build(tiny_cls.distiller(teacher=model))
    assert 'model.dry_run_size' in str(info.value)
    fits = dict(tiny_cls.distiller(teacher=model), dry_run_size=56)
    assert tiny_cls.build(fits).teachers.dry_sizes == {0: (56, 56)}


@pytest.mark.parametrize('size', [0, -3, 'a', (1,), (1, 2, 3), 2.5, True])
def test_bad_sizes_are_named(size):
    with pytest.raises(ValueError, match=re.escape(f'size: {size!r}')):
        read_size(size)
