"""Losses on a two-stage detector's RPN and masks."""

import pytest
import tiny
import torch
from self_loss import self_distiller, self_losses

RPN = dict(type='luminet_mm.BCKDLoss', signal=['rpn.objectness', 'rpn.deltas'])
MASKS = dict(
    mask=['roi.mask'], cascade_mask=[f'roi.{i}.mask' for i in range(3)]
)


def losses(kind, **options):
    masks = {
        f'loss_mask_{i}': dict(
            type='luminet_mm.MaskKDLoss', signal=signal, **options
        )
        for i, signal in enumerate(MASKS[kind])
    }
    return dict(masks, loss_rpn=dict(RPN, **options))


def distiller(kind, **options):
    return tiny.distiller(
        tiny.detector(kind),
        tiny.detector(kind, width=12),
        **losses(kind, **options),
    )


def test_a_model_teaches_itself_nothing(tmp_path):
    """These losses; that signals keep the family's contract is tested there.

    Prepared as any teacher: norms folded, channels in another order.
    """
    model = self_distiller(tiny.detector('mask'), tmp_path, losses('mask'))
    found = self_losses(model, tiny.batch(size=96, masks=True))
    # an IoU's eps is left of the RPN's boxes
    assert max(found.values()) < 1e-4, found


@pytest.mark.parametrize('kind', MASKS)
def test_a_step_trains_heads_and_backbone(kind):
    model = tiny.build(distiller(kind))
    data = tiny.prepared(model, masks=True)
    found = model.loss(data['inputs'], data['data_samples'])
    assert all(found[name] > 0 for name in model.distill)
    sum(found[name] for name in model.distill).backward()
    heads = model.roi_head.mask_head
    heads = heads if kind == 'cascade_mask' else [heads]
    for part in (*heads, model.rpn_head, model.neck, model.backbone.layer2):
        assert any(
            p.grad is not None and p.grad.abs().sum() > 0
            for p in part.parameters()
        )
    assert model.roi_head.bbox_head.state_dict().keys()
    assert all(p.grad is None for p in model.roi_head.bbox_head.parameters())


def test_a_cascades_last_stage_may_teach_a_plain_head():
    model = tiny.build(
        tiny.distiller(
            tiny.detector('mask'),
            tiny.detector('cascade_mask'),
            loss_x=dict(
                type='luminet_mm.MaskKDLoss',
                student='roi.mask',
                teacher='roi.2.mask',
            ),
        )
    )
    found, _ = tiny.step(model, masks=True)
    assert found['loss_x'] > 0


def test_images_without_objects_give_0_with_a_graph():
    model = tiny.build(distiller('mask'))
    data = tiny.prepared(model, masks=True)
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    found = model.loss(data['inputs'], data['data_samples'])
    assert found['loss_mask_0'] == 0 and found['loss_rpn'] > 0
    found['loss_mask_0'].backward()
    head = model.roi_head.mask_head
    assert all(p.grad.abs().sum() == 0 for p in head.parameters())


def test_amp_agrees_with_fp32():
    model = tiny.build(distiller('mask')).eval()
    data = tiny.prepared(model, masks=True)

    def found():
        torch.manual_seed(0)
        return model.loss(data['inputs'], data['data_samples'])

    exact = found()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = found()
    for name in model.distill:
        assert half[name].dtype == torch.float32
        # 8 bits of the logits of both, and other RoIs of the RPN's
        assert (half[name] - exact[name]).abs() < 0.2 * exact[name], name


def test_of_the_teacher_only_what_is_asked_runs():
    model = tiny.build(
        tiny.distiller(
            tiny.detector('mask'),
            tiny.detector('mask', width=12),
            loss_x=losses('mask')['loss_mask_0'],
        )
    )
    teacher = model.teacher.model
    tiny.step(model, masks=True)
    ran = set()
    for name, module in teacher.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.add(name))
    levels = []
    teacher.neck.register_forward_hook(
        lambda *args: levels.append(len(args[-1]))
    )
    tiny.step(model, masks=True)
    assert 'roi_head.mask_head.conv_logits' in ran and levels == [4]
    assert not [n for n in ran if 'rpn' in n or 'bbox_head' in n]


def test_several_teachers_are_averaged():
    config = distiller('mask')
    config.distill.loss_rpn.signal = 'rpn.objectness'  # deltas have no mean
    other = dict(model=tiny.detector('mask', width=16))
    config.teacher = [config.teacher, dict(config=other, checkpoint=None)]
    model = tiny.build(config)
    mean = tiny.step(model, masks=True)[0]
    model.teachers.weights = [1.0, 0.0]
    first = tiny.step(model, masks=True)[0]
    for name in model.distill:
        assert 0 < mean[name] != first[name] > 0


def test_a_softmax_loss_is_refused_and_so_is_an_unknown_name():
    for signal in ('rpn.objectness', 'roi.mask'):
        loss = dict(type='luminet_mm.KDLoss', signal=signal)
        with pytest.raises(ValueError, match='a probability of its own'):
            tiny.build(
                tiny.distiller(
                    tiny.detector('mask'), tiny.detector('mask'), loss_x=loss
                )
            )
    with pytest.raises(ValueError, match="no signal 'roi.mask'"):
        tiny.build(
            tiny.distiller(
                loss_x=dict(type='luminet_mm.MaskKDLoss', signal='roi.mask')
            )
        )
