"""Losses on maps and softmax losses, beside a one-stage student."""

import pytest
import tiny_dense as tiny
import torch

from luminet_mm.distillers.refusals import check_activation
from luminet_mm.losses import FCFDRoILoss, FeatureLoss
from luminet_mm.methods import METHODS, logit_losses
from luminet_mm.signals.family import Comparison

# Methods on maps of a pyramid, with the options that they need there.
ON_MAPS = {
    method.card.key: dict(
        type=f'luminet_mm.{method.loss}',
        **{
            key: value
            for key, value in method.config('dense').items()
            if key not in ('signal', 'student', 'teacher')
        },
    )
    for method in METHODS
    if method.use('dense') and issubclass(method.cls, FeatureLoss)
}
# anchors belong to levels of a pyramid
NOT_ON_STAGES = ('fgfi',)


def test_the_methods_of_detectors_are_among_them():
    assert {'fgd', 'fgfi', 'mgd', 'pkd', 'cwd', 'nst'} <= {*ON_MAPS}


@pytest.mark.parametrize('signal', ['neck', 'backbone'])
def test_every_method_on_maps_takes_a_step_of_gfl(signal):
    losses = {
        f'loss_{key}': dict(config, signal=signal)
        for key, config in ON_MAPS.items()
        if signal == 'neck' or key not in NOT_ON_STAGES
    }
    model = tiny.build(
        tiny.distiller(tiny.detector('gfl'), tiny.detector('gfl'), **losses)
    )
    # of two images RKD's distances, divided by their mean, are 1 and 1
    data = tiny.prepared(model, num_images=3)
    found = model.loss(data['inputs'], data['data_samples'])
    # other branches of a block begin with a norm of weight 0
    deep = model.backbone.layer4[0].downsample[0].weight
    for key in losses:
        assert found[key].isfinite() and found[key] > 0, key
        (grad,) = torch.autograd.grad(found[key], deep, retain_graph=True)
        assert grad.isfinite().all() and grad.any(), key


def test_losses_with_a_softmax_name_those_without():
    model = tiny.build(tiny.distiller())
    signal = model.family.find(model, 'cls_score', 'student')
    compared = Comparison('loss_x', [signal], {0: [signal]})
    for loss in (*logit_losses(), FCFDRoILoss):
        with pytest.raises(ValueError) as error:
            check_activation(model, loss(), compared)
        said = str(error.value)
        assert f'and {loss.__name__} compares those of a softmax' in said
        assert 'such as BinaryKDLoss or BCKDLoss' in said


def test_anchors_of_a_pyramid_are_not_those_of_stages():
    config = dict(ON_MAPS['fgfi'], signal='backbone')
    model = tiny.build(tiny.distiller(loss_fgfi=config))
    data = tiny.prepared(model)
    with pytest.raises(ValueError, match='anchors do not belong.*neck'):
        model.loss(data['inputs'], data['data_samples'])
