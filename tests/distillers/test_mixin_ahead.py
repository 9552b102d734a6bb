"""The teacher runs only what is asked for, and begins before the student."""

import copy
import pickle

import pytest
import tiny
import tiny_cls
import torch
from mmengine.registry import DefaultScope

from luminet_mm.signals.roi_scoring import compute_signals

LUMINET = 'luminet_mm.LumiNetLoss'


def leaves(model):
    return {n: m for n, m in model.named_modules() if not list(m.children())}


def ran_in(model, run):
    """Names of the leaf modules that run, in order."""
    ran, handles = [], []
    for name, module in leaves(model).items():
        handles.append(
            module.register_forward_hook(lambda *_, n=name: ran.append(n))
        )
    run()
    for handle in handles:
        handle.remove()
    return ran


def step(model, kind='faster', seed=0):
    data = tiny.prepared(model, masks=kind == 'mask', seed=seed)
    torch.manual_seed(seed)
    return data, model.loss(data['inputs'], data['data_samples'])


PARTS = dict(
    backbone='backbone.',
    # of five levels the last has no convolution: see `levels` below
    neck='neck.',
    rpn='rpn_head.rpn_',
    shared='roi_head.bbox_head.shared_fcs.',
    classes='roi_head.bbox_head.fc_cls',
    boxes='roi_head.bbox_head.fc_reg',
)
# what a signal needs, and how many pyramid levels
NEEDS = {
    'backbone': ({'backbone'}, 0),
    'neck': ({'backbone', 'neck'}, 5),
    'rpn.cls_score': ({'backbone', 'neck', 'rpn'}, 5),
    'rpn.bbox_pred': ({'backbone', 'neck', 'rpn'}, 5),
    'roi.feats': ({'backbone', 'neck', 'shared'}, 4),
    'roi.cls_score': ({'backbone', 'neck', 'shared', 'classes'}, 4),
    'roi.bbox_pred': ({'backbone', 'neck', 'shared', 'boxes'}, 4),
}


@pytest.mark.parametrize('kind', ['faster', 'mask', 'cascade'])
def test_only_what_a_signal_needs_runs(kind):
    """No RPN, fifth level, other branch, mask head or other stage."""
    stage = 1 if kind == 'cascade' else None
    names = list(NEEDS)
    if stage is not None:
        names = [name.replace('roi.', f'roi.{stage}.') for name in names]
    model = tiny.build(
        tiny.distiller(
            tiny.detector(kind),
            tiny.detector(kind),
            **{
                f'loss_{i}': dict(type='luminet_mm.KDLoss', signal=name)
                for i, name in enumerate(names)
            },
        )
    )
    teacher = model.teacher.model
    model.fit_teacher(0)  # asks for all, once
    levels = []
    teacher.neck.register_forward_hook(
        lambda module, args, out: levels.append(len(out))
    )
    prefixes = PARTS
    if stage is not None:
        prefixes = {
            key: prefix.replace('bbox_head.', f'bbox_head.{stage}.')
            for key, prefix in PARTS.items()
        }
    for loss in model.distill.values():
        loss.forward = lambda s, t, b: 0 * torch.zeros(())
    for i, (signal, (needs, count)) in enumerate(NEEDS.items()):
        for j, loss in enumerate(model.distill.values()):
            loss.schedule_factor = float(i == j)
        levels.clear()
        ran = ran_in(teacher, lambda: step(model, kind))
        ran = [n for n in ran if 'loss' not in n and 'relu' not in n]
        for part, prefix in prefixes.items():
            found = any(name.startswith(prefix) for name in ran)
            assert found == (part in needs), (signal, part)
        # nothing else, such as a mask head or another stage
        allowed = (
            *(prefixes[part] for part in needs),
            'roi_head.bbox_roi_extractor.',
        )
        if not signal.startswith('roi'):
            allowed = allowed[:-1]
        extractor = f'roi_head.bbox_roi_extractor.{stage}.'
        if stage is not None and signal.startswith('roi'):
            allowed = (*allowed[:-1], extractor)
        other = [name for name in ran if not name.startswith(allowed)]
        assert not other, signal
        assert levels == ([count] if count else []), signal
    head = teacher.roi_head.bbox_head
    head = head if stage is None else head[stage]
    assert head.with_cls and head.with_reg and teacher.neck.num_outs == 5


def test_a_classifiers_logits_need_all_of_it_and_its_maps_no_head():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(
            tiny_cls.distiller(
                loss_kd=dict(type='luminet_mm.KDLoss', signal='logits'),
                loss_at=dict(type='luminet_mm.ATLoss', signal='backbone'),
            )
        )
        model.fit_teacher(0)  # asks for all, once
        data = tiny_cls.prepared(model)
        found = []
        for off in ('loss_at', 'loss_kd'):
            for name, loss in model.distill.items():
                loss.schedule_factor = float(name != off)
            ran = ran_in(
                model.teacher.model,
                lambda: model.loss(data['inputs'], data['data_samples']),
            )
            found.append({name.split('.')[0] for name in ran})
    assert found == [{'backbone', 'neck', 'head'}, {'backbone'}]


def test_it_begins_before_the_student_and_scores_after():
    model = tiny.build(tiny.distiller())
    order = []
    for owner, root in (('student', model), ('teacher', model.teacher.model)):
        for part in ('backbone', 'neck'):
            getattr(root, part).register_forward_pre_hook(
                lambda *_, o=owner, p=part: order.append((o, p))
            )
        root.roi_head.bbox_head.fc_cls.register_forward_pre_hook(
            lambda *_, o=owner: order.append((o, 'classes'))
        )
    step(model)
    order.clear()  # the first step fits the teacher to its device
    step(model)
    assert order == [
        ('teacher', 'backbone'),
        ('teacher', 'neck'),
        ('student', 'backbone'),
        ('student', 'neck'),
        ('student', 'classes'),
        ('teacher', 'classes'),
    ]


def test_what_it_says_is_what_one_pass_says():
    """Losses and gradients of a teacher that ran all at once, afterwards."""
    model = tiny.build(tiny.distiller())
    seen = []
    loss = model.distill['loss_luminet']
    forward = loss.forward
    loss.forward = lambda s, t, b: seen.append((t, b)) or forward(s, t, b)
    data, losses = step(model)
    model.parse_losses(losses)[0].backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.requires_grad]
    ((teacher, batch),) = seen
    signal = model.comparisons['loss_luminet'].teachers[0][0]

    def at_once(*_):
        images = model.teacher.view(
            model, data['inputs'], data['data_samples']
        )
        with torch.no_grad():
            return compute_signals(
                model.teacher.model, images, [(signal, 0)], {0: batch.rois}
            )

    assert torch.equal(at_once()[0], teacher)
    model.zero_grad()
    model.begin_teachers = lambda *_: {}
    model.ask_teachers = at_once
    _, again = step(model)
    model.parse_losses(again)[0].backward()
    assert torch.equal(again['loss_luminet'], losses['loss_luminet'])
    for one, p in zip(
        gradients, (p for p in model.parameters() if p.requires_grad)
    ):
        assert torch.equal(one, p.grad)


def test_a_teacher_that_nobody_asks_does_nothing():
    model = tiny.build(tiny.distiller())
    model.distill['loss_luminet'].schedule_factor = 0.0
    assert not ran_in(model.teacher.model, lambda: step(model))
    assert not model.teacher.fitted


def test_a_copy_shares_the_fit():
    """Else both would put their hooks on the one model."""
    model = tiny.build(tiny.distiller())
    other = copy.deepcopy(model)
    step(model)
    assert other.teacher.fitted
    step(other)
    assert len(model.teacher.model.backbone._forward_pre_hooks) == 1


def test_a_fitted_teacher_is_pickled():
    cfg = tiny.distiller()
    cfg.teacher.dtype = 'bf16'
    model = tiny.build(cfg)
    _, losses = step(model)
    other = pickle.loads(pickle.dumps(model))
    _, again = step(other)
    assert again['loss_luminet'] == losses['loss_luminet']
    form = other.teacher._form
    (hook, *_) = other.teacher.model.backbone._forward_pre_hooks.values()
    assert hook.keywords['form'] is form and form.fitted


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
@pytest.mark.parametrize('first', [False, True], ids=['before', 'after'])
def test_a_precision_that_was_asked_for_stays(dtype, first):
    """The student's is another; what the heads get follows that."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = tiny_cls.distiller()
        cfg['teacher']['dtype'] = 'fp16'
        model = tiny_cls.build(cfg)
        data = tiny_cls.prepared(model)
        if first:
            model.loss(data['inputs'], data['data_samples'])
        backbone = model.teacher.model.backbone
        before = {k: v.clone() for k, v in backbone.state_dict().items()}
        model.to(dtype)
        losses = model.loss(data['inputs'].to(dtype), data['data_samples'])
    for key, value in backbone.state_dict().items():
        assert value.dtype == before[key].dtype
        assert torch.equal(value, before[key]), key
    head = model.teacher.model.head
    assert {p.dtype for p in head.parameters()} == {dtype}
    assert losses['loss_luminet'].isfinite()


def test_its_own_precision_goes_before_autocast():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = tiny_cls.distiller()
        cfg['teacher']['dtype'] = 'fp16'
        model = tiny_cls.build(cfg)
        seen = set()
        model.teacher.model.backbone.conv1.register_forward_hook(
            lambda module, args, out: seen.add(out.dtype)
        )
        data = tiny_cls.prepared(model)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            model.loss(data['inputs'], data['data_samples'])
    assert seen == {torch.float16}
