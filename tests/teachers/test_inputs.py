"""How a teacher sees the student's images."""

import copy

import pytest
import tiny
import tiny_cls
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from self_loss import gaps, self_distiller

from luminet_mm.teachers.inputs import _positions, image_channels


def bare(model):
    """A stock model's block as MMPretrain's configs have it."""
    model = copy.deepcopy(model)
    del model['data_preprocessor']
    return model


@pytest.mark.parametrize('whole', [True, False])
def test_a_classifiers_block_alone_sees_what_the_student_sees(
    mmpretrain_scope, whole, monkeypatch
):
    said = []
    monkeypatch.setattr(
        'luminet_mm.teachers.frozen.print_log',
        lambda text, *args: said.append(text),
    )
    config = tiny_cls.distiller()
    block = bare(config['teacher']['config']['model'])
    config['teacher']['config'] = dict(model=block) if whole else block
    model = tiny_cls.build(config)
    data = tiny_cls.prepared(model)
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    assert seen is data['inputs']
    # TeacherCheckHook scores it on raw images
    raw = model.teacher.model.data_preprocessor(tiny_cls.batch(), False)
    assert torch.equal(raw['inputs'], data['inputs'])
    assert any('has no data_preprocessor' in text for text in said)


def test_a_detectors_block_without_preprocessor():
    config = tiny.distiller()
    del config.teacher['config']['model']['data_preprocessor']
    model = tiny.build(config)
    data = tiny.prepared(model)
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    assert seen is data['inputs']


def test_raw_images_on_purpose(mmpretrain_scope):
    config = tiny_cls.distiller()
    teacher = config['teacher']['config']['model']
    teacher['data_preprocessor'] = dict(to_rgb=True)
    model = tiny_cls.build(config)
    raw = tiny_cls.batch()
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    wanted = torch.stack(raw['inputs']).flip(1).float()
    torch.testing.assert_close(seen, wanted, rtol=0, atol=1e-3)


def test_a_file_that_does_not_say_it_is_refused(mmpretrain_scope, tmp_path):
    path = tmp_path / 'teacher.py'
    Config(dict(model=bare(tiny_cls.classifier()))).dump(path)
    config = tiny_cls.distiller()
    config['teacher']['config'] = str(path)
    with pytest.raises(ValueError, match='has no data_preprocessor, so'):
        tiny_cls.build(config)
    # both see raw images: nothing to settle
    config['data_preprocessor'] = dict(num_classes=5)
    tiny_cls.build(config)


def test_another_pad_value(tmp_path):
    """What is beside an image is as its own preprocessor has it."""
    model = self_distiller(
        tiny.detector(), tmp_path, gaps('backbone'), pad_value=3.0
    )
    raw = tiny.batch(size=72)
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    wanted = model.teacher.model.data_preprocessor(raw, True)['inputs']
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    torch.testing.assert_close(seen, wanted, rtol=1e-4, atol=1e-3)


def test_equal_preprocessors_of_other_pad_values():
    config = tiny.distiller()
    theirs = config.teacher['config']['model'].data_preprocessor
    theirs.update(pad_value=3.0, pad_size_divisor=64)
    model = tiny.build(config)
    raw = tiny.batch(size=72)
    data = model.data_preprocessor(copy.deepcopy(raw), True)
    wanted = model.teacher.model.data_preprocessor(raw, True)['inputs']
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    torch.testing.assert_close(seen, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ('length', 'full', 'part', 'positions'),
    [
        (32, 128, 96, 24),
        (2, 128, 96, 2),  # a stride of 64, rounded up
        (2, 96, 64, 1),
        (1, 128, 96, 1),
        (9, 126, 56, 4),  # patches of 14
        (128, 128, 96, 96),
        (256, 128, 96, 192),
    ],
)
def test_positions_of_an_area(length, full, part, positions):
    assert _positions(length, full, part) == positions


def test_teacher_sees_its_own_normalisation():
    teacher = tiny_cls.classifier(width=12)
    teacher['data_preprocessor'] = dict(
        num_classes=5, mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=False
    )
    model = tiny_cls.build(tiny_cls.distiller(teacher=teacher))
    model.fit_teacher(0)  # runs it once
    seen = []
    model.teacher.model.backbone.register_forward_pre_hook(
        lambda _module, args: seen.append(args[0])
    )
    data = tiny_cls.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    wanted = model.teacher.model.data_preprocessor(tiny_cls.batch(), True)
    assert torch.allclose(seen[0], wanted['inputs'], atol=1e-4)


def test_a_teachers_preprocessor_may_stand_beside_its_model():
    """MMPretrain's configs write it there, not in the model."""
    config = dict(model=tiny_cls.classifier(width=12))
    config['data_preprocessor'] = config['model'].pop('data_preprocessor')
    model = tiny_cls.distiller()
    model['teacher']['config'] = config
    theirs = tiny_cls.build(model).teacher.model.data_preprocessor
    assert theirs.mean.flatten().tolist() == [120.0, 110.0, 100.0]
    assert theirs.to_rgb


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('kind', ['resnet', 'vit'])
def test_classifiers_of_other_channels(mmpretrain_scope, kind, channels):
    def grey(**kwargs):
        model = tiny_cls.classifier(kind, **kwargs)
        place = dict(in_channels=channels)
        if kind == 'vit':
            place = dict(patch_cfg=place)
        model['backbone'].update(place)
        model['data_preprocessor'].update(
            mean=[100.0] * channels, std=[50.0] * channels
        )
        return model

    teacher = grey(width=12)
    teacher['data_preprocessor'].update(mean=[90.0] * channels, to_rgb=False)
    signal = 'feats'
    losses = dict(loss_hint=dict(type='luminet_mm.PKTLoss', signal=signal))
    model = tiny_cls.build(tiny_cls.distiller(grey(), teacher, **losses))
    raw = tiny_cls.batch()
    raw['inputs'] = [
        each[:1].expand(channels, -1, -1) for each in raw['inputs']
    ]
    data = model.data_preprocessor(raw, True)
    assert data['inputs'].shape[1] == channels
    seen = model.teacher.view(model, data['inputs'], data['data_samples'])
    torch.testing.assert_close(seen, data['inputs'] + 10 / 50)
    assert model.loss(data['inputs'], data['data_samples'])['loss_hint'] > 0


def grey_detector(**kwargs):
    model = tiny.detector(**kwargs)
    model.backbone.in_channels = 1
    model.data_preprocessor.update(mean=[100.0], std=[50.0], bgr_to_rgb=False)
    return model


def test_a_detector_of_grey_images():
    model = tiny.build(
        tiny.distiller(
            grey_detector(),
            grey_detector(width=12),
            loss_logits=dict(type='luminet_mm.KDLoss', signal='roi.cls_score'),
            loss_maps=dict(type='luminet_mm.FitNetLoss', signal='neck'),
        )
    )
    raw = tiny.batch()
    raw['inputs'] = [each[:1] for each in raw['inputs']]
    data = model.data_preprocessor(raw, True)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert losses['loss_logits'] > 0 and losses['loss_maps'] > 0


def test_a_teacher_of_other_channels_is_refused():
    with pytest.raises(ValueError, match='of 3 channel.* student of 1'):
        tiny.build(tiny.distiller(grey_detector()))


def preprocessor(mean, std, bgr_to_rgb):
    return dict(
        type='DetDataPreprocessor',
        mean=mean,
        std=std,
        bgr_to_rgb=bgr_to_rgb,
        pad_size_divisor=32,
        pad_mask=False,
    )


CAFFE = preprocessor([103.53, 116.28, 123.675], [1.0, 1.0, 1.0], False)


PLAIN = dict(type='DetDataPreprocessor', pad_size_divisor=32)


@pytest.mark.parametrize('theirs', [CAFFE, PLAIN], ids=['caffe', 'raw'])
def test_input_is_renormalised_and_padding_stays_zero(theirs):
    config = tiny.distiller()
    config.teacher['config']['model'].data_preprocessor = theirs
    distiller = tiny.build(config)
    raw = tiny.batch(num_images=3, size=72)
    data = distiller.data_preprocessor(copy.deepcopy(raw), True)
    wanted = distiller.teacher.model.data_preprocessor(raw, True)['inputs']
    given = distiller.teacher.view(
        distiller, data['inputs'], data['data_samples']
    )
    torch.testing.assert_close(given, wanted.float(), rtol=1e-4, atol=1e-3)
    # image 1 is narrower than the others: a real zero border to keep
    assert torch.count_nonzero(given[1, :, :, 72 - 16 :]) == 0
    assert torch.count_nonzero(given[0, :, 72:]) == 0


def test_same_preprocessing_passes_the_tensor_on():
    distiller = tiny.build(tiny.distiller())
    data = tiny.prepared(distiller)
    assert (
        distiller.teacher.view(distiller, data['inputs'], data['data_samples'])
        is data['inputs']
    )


@pytest.mark.parametrize('mean', [0.0, 1.0])
def test_input_is_padded_to_the_teachers_divisor(mean):
    config = tiny.distiller()
    theirs = config.teacher['config']['model'].data_preprocessor
    theirs.pad_size_divisor = 128
    theirs.mean = [m + mean for m in theirs.mean]  # 0: else alike
    distiller = tiny.build(config)
    raw = tiny.batch(num_images=3, size=72)
    data = distiller.data_preprocessor(copy.deepcopy(raw), True)
    assert data['inputs'].shape[2:] == (96, 96)
    wanted = distiller.teacher.model.data_preprocessor(raw, True)['inputs']
    given = distiller.teacher.view(
        distiller, data['inputs'], data['data_samples']
    )
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-3)
    losses = distiller.loss(data['inputs'], data['data_samples'])
    assert losses['loss_luminet'] > 0


def test_a_focus_reads_images_of_three_channels():
    """YOLOX's first convolution has twelve."""
    backbone = MODELS.build(
        dict(type='mmdet.CSPDarknet', deepen_factor=0.33, widen_factor=0.125)
    )
    assert image_channels(backbone) == 3
    assert len(backbone(torch.rand(1, 3, 64, 64))) == 3
