"""Every method on a device that is not the CPU: nothing is left behind.

The device's kernels are the CPU's, see :mod:`accelerator`; it refuses what a
GPU refuses. ``test_device.py`` runs these tests.
"""

from unittest.mock import patch

import accelerator
import box_caching
import caching
import numpy as np
import operators
import pytest
import tiny
import tiny_cls
import torch
from accelerator import DEVICE
from cells import CELLS, DETECTORS, detector_pair, numbered, pair, small
from mmengine.registry import DefaultScope
from mmengine.runner import runner as runner_module


@pytest.mark.parametrize(
    'misplaced',
    [
        lambda x: x + torch.ones(3, 4),
        lambda x: torch.ones(3, 4).add_(x),
        lambda x: torch.cat([x, torch.ones(3, 4)]),
        lambda x: torch.ones(3)[torch.tensor([0], device=DEVICE)],
        lambda x: x.index_select(0, torch.tensor([0])),
        lambda x: torch.rand(3, generator=torch.Generator(), device=DEVICE),
        lambda x: x.numpy(),
    ],
)
def test_the_device_refuses(misplaced):
    with pytest.raises(RuntimeError, match='on cpu|not supported'):
        misplaced(torch.ones(3, 4, device=DEVICE))


def test_the_device_allows():
    """Copies, numbers, and indices of the CPU."""
    made = torch.arange(3, device=DEVICE), torch.eye(3, device=DEVICE)
    assert [len(each) for each in made] == [3, 3]
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).to(DEVICE).requires_grad_()
    y = (x * torch.tensor(2.0))[torch.tensor([1])]
    y.sum().backward()
    assert x.grad.device == y.device == torch.zeros_like(x).device == DEVICE
    assert torch.zeros_like(x, device='cpu').device.type == 'cpu'
    assert x.grad.tolist() == [[0, 0], [2, 2]]
    assert torch.zeros(2, 2).copy_(x.detach()).tolist() == [[1, 2], [3, 4]]


def build(method, task):
    config = dict(
        type=f'luminet_mm.{method.loss}', **small(method.config(task), task)
    )
    if task in DETECTORS:
        kind = DETECTORS[task]
        networks = detector_pair(method, task)
        return kind.build(kind.distiller(*networks, loss_x=config))
    return tiny_cls.build(tiny_cls.distiller(*pair(method), loss_x=config))


def raw(method, task):
    if task in DETECTORS:
        return tiny.batch(masks=method.card.key == 'mask_kd')
    return numbered(8)


def two_steps(model, method, task):
    """The first step's losses and gradients; the second runs as well."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        optimizer.zero_grad()
        data = model.data_preprocessor(raw(method, task), True)
        losses = model.loss(data['inputs'], data['data_samples'])
        total, log = model.parse_losses(losses)
        total.backward()
        grads = {
            name: p.grad.clone()
            for name, p in model.named_parameters()
            if p.grad is not None
        }
        found.append(accelerator.to_cpu([dict(log), grads]))
        optimizer.step()
    return found[0]


@pytest.mark.parametrize(('method', 'task'), CELLS)
def test_steps_are_those_of_the_cpu(method, task):
    if method.parts and task == 'classifier':
        pytest.skip('its student is not the stock one')
    scope = 'mmpretrain' if task == 'classifier' else 'mmdet'
    found = []
    with DefaultScope.overwrite_default_scope(scope):
        for device in ('cpu', DEVICE):
            model = build(method, task).to(device)
            with operators.as_on_a_gpu():
                found.append(two_steps(model, method, task))
    (wanted, grads), (log, others) = found
    # other kernels of torch's convolutions: rounding
    torch.testing.assert_close(log, wanted, rtol=1e-3, atol=1e-4)
    assert grads.keys() == others.keys()
    flat, other = (
        torch.cat([each[name].flatten() for name in grads])
        for each in (grads, others)
    )
    assert (other - flat).norm() < 1e-3 * flat.norm()


def trained(make, work_dir, device):
    """A run of an epoch and its resumption for a second: the weights."""
    for epochs in (1, 2):
        with (
            patch.object(runner_module, 'get_device', lambda: str(device)),
            operators.as_on_a_gpu(),
        ):
            run = make(work_dir, max_epochs=epochs, resume=epochs > 1)
            run.train()
    assert next(run.model.parameters()).device == torch.device(device)
    return accelerator.to_cpu(dict(run.model.state_dict()))


HOOKS = [
    dict(type='luminet_mm.TeacherCheckHook', evaluate=False),
    dict(type='luminet_mm.DistillMonitorHook', interval=1),
    dict(type='EMAHook'),
]


def classifiers(work_dir, **kwargs):
    """Soft labels, weights and temperatures that learn, two momenta."""
    mixup = dict(augments=dict(type='Mixup', alpha=0.8))
    model = tiny_cls.distiller(
        tiny_cls.classifier(**mixup),
        loss_kd=dict(
            type='luminet_mm.KDLoss',
            signal='logits',
            tau='learned',
            loss_weight='auto',
        ),
        loss_fitnet=dict(
            type='luminet_mm.FitNetLoss', signal='backbone', levels=[-1]
        ),
    )
    schedule = dict(
        type='luminet_mm.DistillScheduleHook',
        loss_kd=dict(part='temperature', warmup=3),
        loss_fitnet=dict(warmup=2),
    )
    optimizer = dict(type='SGD', lr=0.01, momentum=0.9)
    return tiny_cls.runner(
        model,
        work_dir,
        custom_hooks=[schedule, *HOOKS],
        optim_wrapper=dict(
            type='luminet_mm.DOTOptimWrapper', delta=0.05, optimizer=optimizer
        ),
        **tiny_cls.validation(),
        **kwargs,
    )


def detectors(work_dir, **kwargs):
    """Two teachers; classes, boxes and the RPN."""
    cfg = tiny.distiller(
        loss_luminet=dict(
            type='luminet_mm.LumiNetLoss',
            signal='roi.cls_score',
            loss_weight='auto',
        ),
        loss_box=dict(
            type='luminet_mm.RoIBoxLoss',
            signal=['roi.cls_score', 'roi.bbox_pred'],
        ),
        loss_rpn=dict(
            type='luminet_mm.BinaryKDLoss',
            signal='rpn.objectness',
            loss_weight=0.02,
        ),
    )
    cfg.teacher = [cfg.teacher, cfg.teacher]
    for index, loss in enumerate(cfg.distill.values()):
        loss['teachers'] = [index % 2]
    schedule = dict(
        type='luminet_mm.DistillScheduleHook', loss_luminet=dict(warmup=3)
    )
    return tiny.runner(
        cfg,
        work_dir,
        custom_hooks=[schedule, *HOOKS],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        **tiny.validation(),
        **kwargs,
    )


@pytest.mark.parametrize('make', [classifiers, detectors])
def test_a_run_is_that_of_the_cpu(make, tmp_path):
    """With hooks, validation, checkpoints; and resumed."""
    wanted, found = (
        trained(make, tmp_path / name, device)
        for name, device in (('cpu', 'cpu'), ('other', DEVICE))
    )
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-2, atol=1e-3, msg=name
        )


def test_a_cache_of_logits(tmp_path):
    checkpoint = tmp_path / 'teacher.pth'
    teacher = caching.small(width=8)
    block = dict(
        config=dict(model=teacher),
        checkpoint=str(checkpoint),
        cache=str(tmp_path / 'cache'),
    )
    found = []
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.save(tiny_cls.build(teacher, 5).state_dict(), checkpoint)
        caching.write(block, 'int8')
        for device in ('cpu', DEVICE):
            with (
                patch.object(runner_module, 'get_device', lambda d=device: d),
                operators.as_on_a_gpu(),
            ):
                found.append(caching.train(block, tmp_path / str(device)))
    assert caching.deviation(*map(accelerator.to_cpu, map(dict, found))) < 1e-4


def distilled(model, data):
    """The losses of a distilled detector's step, on the CPU."""
    np.random.seed(0)
    raw = box_caching.batch(box_caching.built(data)[0], [0, 3, 5])
    done = model.data_preprocessor(raw, True)
    with operators.as_on_a_gpu():
        torch.manual_seed(0)
        found = model.loss(done['inputs'], done['data_samples'])
    losses = {key: found[key] for key in model.distill}
    sum(losses.values()).backward()
    return accelerator.to_cpu(
        {key: loss.detach() for key, loss in losses.items()}
    )


def test_a_cache_of_boxes(tmp_path, monkeypatch):
    """Written by a teacher on the device, and read there."""
    photos = box_caching.make_photos(tmp_path / 'photos')
    block = box_caching.teacher_block(tmp_path)
    data = box_caching.data(photos)
    build = tiny.build
    losses = []
    for device in ('cpu', DEVICE):
        monkeypatch.setattr(tiny, 'build', lambda c, d=device: build(c).to(d))
        block['cache'] = str(tmp_path / f'cache on {device}')
        box_caching.write(block, data)
        model = box_caching.ready(
            block,
            data,
            loss_luminet=box_caching.LUMINET,
            loss_box=box_caching.BOX,
        )
        losses.append(distilled(model, data))
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-4)


def test_boxes_of_a_teacher_on_the_device(tmp_path):
    photos = box_caching.make_photos(tmp_path / 'photos')
    block = box_caching.teacher_block(tmp_path)
    del block['cache']
    block['boxes_per_step'] = 8
    data = box_caching.data(photos)
    losses = []
    for device in ('cpu', DEVICE):
        model = tiny.build(
            box_caching.model_config(
                block,
                loss_luminet=box_caching.LUMINET,
                loss_box=box_caching.BOX,
            )
        ).to(device)
        model.teachers.at_step(0, 1)
        losses.append(distilled(model, data))
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-4)
