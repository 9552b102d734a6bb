"""TwoStageDistiller: the stock student, with a teacher at its side."""

import copy

import pytest
import tiny
import torch
from mmdet.structures.bbox import bbox2roi
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS

from luminet_mm.signals.family import Comparison

KINDS = ('faster', 'mask', 'cascade')
SIGNALS = dict(
    faster=['roi.cls_score'],
    mask=['roi.cls_score'],
    cascade=[f'roi.{stage}.cls_score' for stage in range(3)],
)


def logit_losses(kind='faster', type='luminet_mm.LumiNetLoss', **kwargs):
    return {
        f'loss_{index}': dict(type=type, signal=signal, **kwargs)
        for index, signal in enumerate(SIGNALS[kind])
    }


def distiller(kind='faster', teacher=None, fold_bn=True, **kwargs):
    cfg = tiny.distiller(
        tiny.detector(kind),
        teacher or tiny.detector(kind, width=12),
        **logit_losses(kind, **kwargs),
    )
    cfg.teacher.fold_bn = fold_bn
    return tiny.build(cfg)


def step(model, seed=0, masks=False):
    data = tiny.prepared(model, seed=seed, masks=masks)
    torch.manual_seed(seed)
    losses = model.loss(data['inputs'], data['data_samples'])
    total, logged = model.parse_losses(losses)
    total.backward()
    return losses, logged


def states_equal(one, other):
    assert list(one) == list(other)
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


@pytest.mark.parametrize('kind', KINDS)
def test_keys_are_the_stock_students(kind):
    stock = tiny.build(tiny.detector(kind))
    assert list(distiller(kind).state_dict()) == list(stock.state_dict())


@pytest.mark.parametrize('kind', KINDS)
def test_training_step_reaches_every_part(kind):
    model = distiller(kind)
    losses, logged = step(model, masks=kind == 'mask')
    for name in model.distill:
        assert losses[name].item() > 0
        assert logged[name].item() == losses[name].item()
        assert losses[name].requires_grad
    # the distillation terms alone move backbone, neck and RoI head
    model.zero_grad()
    data = tiny.prepared(model, masks=kind == 'mask')
    losses = model.loss(data['inputs'], data['data_samples'])
    sum(losses[name] for name in model.distill).backward()
    for part in (model.backbone.layer2, model.neck, model.roi_head):
        assert any(
            p.grad is not None and p.grad.abs().sum() > 0
            for p in part.parameters()
        )


@pytest.mark.parametrize('kind', KINDS)
def test_checkpoint_is_the_stock_students(kind, tmp_path):
    model = distiller(kind)
    step(model, masks=kind == 'mask')
    torch.optim.SGD(model.parameters(), 0.01).step()
    torch.save(model.state_dict(), tmp_path / 'student.pth')

    stock = tiny.build(tiny.detector(kind), seed=9).eval()
    stock.load_state_dict(
        torch.load(tmp_path / 'student.pth', weights_only=True), strict=True
    )
    model.eval()
    with torch.no_grad():
        ours, theirs = (m.test_step(tiny.batch()) for m in (model, stock))
    for one, other in zip(ours, theirs):
        one, other = one.pred_instances, other.pred_instances
        assert len(one) > 0
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(one[key], other[key]), key


@pytest.mark.parametrize('kind', KINDS)
def test_teacher_scores_the_students_own_rois(kind):
    """A teacher with the student's weights gives the student's logits."""
    model = distiller(kind, teacher=tiny.detector(kind), fold_bn=False)
    model.teacher.model.load_state_dict(model.state_dict())
    losses, _ = step(model, masks=kind == 'mask')
    for name in model.distill:
        # the layout of maps moves the last digits
        assert losses[name].item() == pytest.approx(0, abs=1e-7)


def test_rois_include_the_added_ground_truth(monkeypatch):
    model = distiller()
    seen = []
    forward = model.distill['loss_0'].forward
    monkeypatch.setattr(
        model.distill['loss_0'],
        'forward',
        lambda s, t, b: seen.append((s, t, b)) or forward(s, t, b),
    )
    data = tiny.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    ((student, teacher, batch),) = seen
    assert student.shape == teacher.shape == (64, 5)
    assert batch.background == batch.no_object == 4
    assert batch.added_gt.sum() == 6, 'three boxes in each of two images'
    boxes = torch.cat(
        [s.gt_instances.labels for s in data['data_samples']]
    ).sort()[0]
    assert torch.equal(batch.labels[batch.added_gt].sort()[0], boxes)
    assert not teacher.requires_grad


def test_student_runs_once_and_teacher_only_what_is_needed():
    model = distiller('mask')
    model.fit_teacher(0)  # runs it once
    ran = []
    for owner, root in (('student', model), ('teacher', model.teacher.model)):
        for name, module in root.named_modules():
            if not list(module.children()):
                module.register_forward_hook(
                    lambda *_, name=name, owner=owner: ran.append(
                        (owner, name)
                    )
                )
    step(model, masks=True)
    student = [name for owner, name in ran if owner == 'student']
    teacher = [name for owner, name in ran if owner == 'teacher']
    assert student.count('backbone.conv1') == 1
    assert student.count('roi_head.bbox_head.fc_cls') == 1
    assert student.count('roi_head.bbox_head.fc_reg') == 1

    assert teacher.count('roi_head.bbox_head.fc_cls') == 1
    assert not [n for n in teacher if n.startswith('rpn_head')]
    assert not [n for n in teacher if 'fc_reg' in n or 'mask' in n]
    # four pyramid levels; the fifth (P6) is only for the RPN
    assert len({n for n in teacher if n.startswith('neck.fpn_convs')}) == 4
    leaves = [
        n
        for n, m in model.teacher.model.named_modules()
        if not list(m.children())
        and not n.startswith('rpn_head')
        and 'mask' not in n
        and 'fc_reg' not in n
        and 'loss' not in n
    ]
    assert set(teacher) < set(leaves)


def test_teacher_skips_the_extra_pyramid_level():
    model = distiller()
    model.fit_teacher(0)  # runs it once
    shapes = []
    model.teacher.model.neck.register_forward_hook(
        lambda _, __, output: shapes.append(len(output))
    )
    step(model)
    assert shapes == [4]
    assert model.teacher.model.neck.num_outs == 5, 'whole again for scoring'
    assert model.teacher.model.roi_head.bbox_head.with_reg


def test_signals_of_every_part():
    signals = (
        'backbone',
        'neck',
        'rpn.cls_score',
        'rpn.bbox_pred',
        'roi.feats',
        'roi.cls_score',
        'roi.bbox_pred',
        'backbone.layer3.1.conv2',
        'neck.fpn_convs.1',
        'roi_head.bbox_head.shared_fcs.1',
    )
    same = tiny.detector()
    cfg = tiny.distiller(
        tiny.detector(),
        same,
        **{
            f'loss_{index}': dict(type='luminet_mm.KDLoss', signal=signal)
            for index, signal in enumerate(signals)
        },
    )
    cfg.teacher.fold_bn = False
    model = tiny.build(cfg)
    model.teacher.model.load_state_dict(model.state_dict())
    seen = {}
    for index, signal in enumerate(signals):
        model.distill[f'loss_{index}'].forward = (
            lambda s, t, b, signal=signal: (
                seen.update({signal: (s, t)})
                or model.backbone.conv1.weight.sum()
            )
        )
    data = tiny.prepared(model)
    model.loss(data['inputs'], data['data_samples'])
    assert list(seen) == list(signals)
    for name, (student, teacher) in seen.items():
        if isinstance(student, torch.Tensor):
            student, teacher = [student], [teacher]
        assert len(student) == len(teacher) > 0
        for one, other in zip(student, teacher):
            assert one.requires_grad and not other.requires_grad
            torch.testing.assert_close(one, other, msg=name)


def test_cascade_teacher_of_a_faster_student():
    model = tiny.build(
        tiny.distiller(
            tiny.detector(),
            tiny.detector('cascade'),
            loss_luminet=dict(
                type='luminet_mm.LumiNetLoss',
                student='roi.cls_score',
                teacher='roi.2.cls_score',
            ),
        )
    )
    losses, _ = step(model)
    assert losses['loss_luminet'].item() > 0


def test_teacher_that_keeps_its_roi_features():
    """HTC hands out scores and boxes, not what its box head reads."""
    model = tiny.build(
        tiny.distiller(
            tiny.detector(),
            tiny.detector('htc'),
            loss_kd=dict(
                type='luminet_mm.KDLoss',
                student='roi.cls_score',
                teacher='roi.1.cls_score',
            ),
        )
    )
    losses, _ = step(model)
    assert losses['loss_kd'].item() > 0


def test_faster_teacher_of_each_cascade_stage():
    model = tiny.build(
        tiny.distiller(
            tiny.detector('cascade'),
            tiny.detector(),
            **{
                f'loss_{stage}': dict(
                    type='luminet_mm.KDLoss',
                    student=f'roi.{stage}.cls_score',
                    teacher='roi.cls_score',
                )
                for stage in range(3)
            },
        )
    )
    losses, _ = step(model)
    values = {losses[f'loss_{stage}'].item() for stage in range(3)}
    assert len(values) == 3 and 0 not in values, 'each stage its own RoIs'


@pytest.mark.parametrize('kind', KINDS)
def test_zero_weight_trains_like_stock(kind):
    """Same seed, same batches: the distiller must disturb nothing."""

    def train(model):
        optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
        for seed in range(3):
            optimizer.zero_grad()
            data = tiny.prepared(model, seed=seed, masks=kind == 'mask')
            losses = model.loss(data['inputs'], data['data_samples'])
            model.parse_losses(losses)[0].backward()
            optimizer.step()
        return model.state_dict(), torch.rand(3)

    def run(config):
        torch.manual_seed(4)  # once: building must not draw either
        model = MODELS.build(Config(dict(model=config)).model)
        model.init_weights()
        return train(model.train())

    config = tiny.distiller(
        tiny.detector(kind),
        tiny.detector(kind, width=12),
        **logit_losses(kind, loss_weight=0.0),
    )
    ours, our_draw = run(config)
    stock, stock_draw = run(tiny.detector(kind))
    states_equal(ours, stock)
    assert torch.equal(our_draw, stock_draw)


def test_zero_weight_runner_trains_like_stock(tmp_path):
    """The same through a Runner, the teacher's scoring included."""
    weights = []
    for name, model in (
        ('stock', tiny.detector()),
        ('ours', tiny.distiller(**logit_losses(loss_weight=0.0))),
    ):
        hooks = [dict(type='luminet_mm.TeacherCheckHook')]
        runner = tiny.runner(
            model,
            tmp_path / name,
            max_epochs=1,
            custom_hooks=hooks if name == 'ours' else [],
            **tiny.validation(),
        )
        runner.train()
        weights.append(runner.model.state_dict())
    states_equal(*weights)


def test_resume_equals_an_uninterrupted_run(tmp_path):
    hooks = [
        dict(type='luminet_mm.DistillScheduleHook', loss_0=dict(warmup=6)),
        dict(type='EMAHook'),
    ]

    def train(name, max_epochs, **kwargs):
        model = tiny.distiller(**logit_losses())
        # MMEngine saves no random state, so nothing may be drawn: the
        # samplers take every box there is
        model.train_cfg.rpn.sampler.num = 10**6
        model.train_cfg.rcnn.sampler.num = 10**6
        runner = tiny.runner(
            model,
            tmp_path / name,
            max_epochs=max_epochs,
            custom_hooks=copy.deepcopy(hooks),
            **kwargs,
        )
        runner.train()
        return runner

    whole = train('whole', 3)
    train('part', 1)
    resumed = train('part', 3, resume=True)
    assert resumed.iter == whole.iter == 12
    states_equal(resumed.model.state_dict(), whole.model.state_dict())
    files = [
        torch.load(tmp_path / name / 'epoch_3.pth', weights_only=False)
        for name in ('whole', 'part')
    ]
    states_equal(files[0]['ema_state_dict'], files[1]['ema_state_dict'])
    assert not [k for k in files[0]['ema_state_dict'] if 'teacher' in k]


def test_gradient_accumulation_adds_up(tmp_path):
    model = distiller()
    step(model, seed=0)
    step(model, seed=1)
    both = {
        n: p.grad.clone()
        for n, p in model.named_parameters()
        if p.grad is not None
    }
    singles = []
    for seed in range(2):
        model.zero_grad()
        step(model, seed=seed)
        singles.append(
            {
                n: p.grad.clone()
                for n, p in model.named_parameters()
                if p.grad is not None
            }
        )
    for name, grad in both.items():
        torch.testing.assert_close(
            grad, singles[0][name] + singles[1][name], msg=name
        )
    runner = tiny.runner(
        tiny.distiller(),
        tmp_path,
        max_epochs=1,
        optim_wrapper=dict(
            accumulative_counts=2, optimizer=dict(type='SGD', lr=0.01)
        ),
    )
    runner.train()
    assert runner.iter == 4


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_amp_agrees_with_fp32(dtype):
    model = distiller()
    weights = (
        model.roi_head.bbox_head.fc_cls.weight,
        model.neck.fpn_convs[0].conv.weight,
    )
    plain, _ = step(model)
    fp32 = [weight.grad.clone() for weight in weights]
    model.zero_grad()
    with torch.autocast('cpu', dtype):
        mixed, _ = step(model)
    assert mixed['loss_0'].dtype == torch.float32
    assert mixed['loss_0'].item() == pytest.approx(
        plain['loss_0'].item(), rel=0.25
    )
    for weight, expected in zip(weights, fp32):
        cosine = torch.cosine_similarity(
            weight.grad.flatten(), expected.flatten(), dim=0
        )
        assert cosine > 0.7


def test_amp_keeps_the_teachers_roi_head_exact():
    """bf16 has 8 bits: a box corner at 1333 would become 1336."""
    model = distiller()
    model.fit_teacher(0)  # runs it once
    seen = []
    roi_head = model.teacher.model.roi_head
    roi_head.bbox_roi_extractor.register_forward_pre_hook(
        lambda _, args: seen.extend((args[0][0].dtype, args[1].dtype))
    )
    roi_head.bbox_head.fc_cls.register_forward_hook(
        lambda _, __, output: seen.append(output.dtype)
    )
    with torch.autocast('cpu', torch.bfloat16):
        step(model)
    assert seen == [torch.float32] * 3


def test_switched_off_loss_saves_the_teacher():
    model = distiller()
    model.fit_teacher(0)  # runs it once
    ran = []
    model.teacher.model.backbone.register_forward_hook(
        lambda *_: ran.append(1)
    )
    step(model)
    assert ran == [1]
    model.distill['loss_0'].schedule_factor = 0.0
    losses, _ = step(model)
    assert ran == [1] and losses['loss_0'] == 0


def test_images_without_objects():
    model = distiller()
    data = tiny.prepared(model)
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    losses = model.loss(data['inputs'], data['data_samples'])
    assert torch.isfinite(losses['loss_0'])
    model.parse_losses(losses)[0].backward()


def bad(**changes):
    config = tiny.distiller()
    for path, value in changes.items():
        *parents, last = path.split('__')
        node = config
        for parent in parents:
            node = node[parent]
        if value is None:
            node.pop(last)
        else:
            node[last] = value
    return config


RETINA = dict(
    type='RetinaNet',
    backbone=tiny.detector().backbone,
    neck=tiny.detector().neck,
    bbox_head=dict(type='RetinaHead', num_classes=4, in_channels=16),
)
LOSS = dict(type='luminet_mm.LumiNetLoss', signal='roi.cls_score')


STAGE = {
    'loss_kd': dict(
        type='luminet_mm.KDLoss',
        student='roi.cls_score',
        teacher='roi.0.cls_score',
    )
}


def seesaw():
    """Columns for classes, and two for object and background."""
    model = tiny.detector()
    model.roi_head.bbox_head.loss_cls = dict(
        type='SeesawLoss', p=0.8, q=2.0, num_classes=4
    )
    return model


def sparse():
    """One stage of Sparse R-CNN."""
    name = 'mmdet::sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py'
    model = copy.deepcopy(get_config(name).model)
    model.backbone.update(depth=18, init_cfg=None)
    model.neck.in_channels = [64, 128, 256, 512]
    head = model.roi_head
    head.update(
        num_stages=1, stage_loss_weights=[1], bbox_head=head.bbox_head[:1]
    )
    head.bbox_head[0].num_classes = 4
    return model


@pytest.mark.parametrize(
    'config, message',
    [
        (bad(teacher=None), 'model.teacher: missing'),
        (bad(teacher__checkpoint=None), 'model.teacher.checkpoint: missing'),
        (bad(distill={}), 'model.distill: missing; name at least one'),
        (bad(distill={'luminet': LOSS}), 'rename it to loss_luminet'),
        (
            bad(distill__loss_luminet__signal='roi.cls_scores'),
            "student .* has no signal 'roi.cls_scores'.* mean 'roi.cls_score'",
        ),
        (bad(distill__loss_luminet__signal=None), 'say what it compares'),
        (bad(distill__loss_luminet__tau=0.0), 'loss_luminet: .*tau is 0.0'),
        (bad(distill__loss_luminet__taw=1.0), 'loss_luminet: .*taw'),
        (
            bad(distill__loss_luminet__type='luminet_mm.LuminetLoss'),
            'loss_luminet: .*LuminetLoss is not in',
        ),
        (
            bad(
                distill__loss_luminet=dict(type='mmdet.L1Loss', signal='neck')
            ),
            'loss_luminet: L1Loss is no distillation loss',
        ),
        (
            bad(teacher__config=dict(model=tiny.detector(num_classes=3))),
            'student has 4 classes and the teacher 3.*num_classes=3',
        ),
        (
            bad(teacher__config=dict(model=RETINA)),
            r"\(RetinaNet\) has no signal 'roi.cls_score'. It has no RoI head",
        ),
        (
            tiny.distiller(tiny.detector('cascade')),
            'It is a cascade: name the',
        ),
        (
            tiny.distiller(seesaw(), seesaw()),
            "'roi.cls_score': the RoI head of the student .*SeesawLoss, whose",
        ),
        (
            bad(teacher__config=dict(model=seesaw())),
            'the RoI head of the teacher .*SeesawLoss, whose scores',
        ),
        (
            tiny.distiller(teacher=sparse(), **STAGE),
            'teacher .SparseRoIHead. scores proposals of its own',
        ),
        (
            bad(distill=dict(loss_kd=None, loss_luminet=LOSS)),
            'model.distill.loss_kd: None is not the config of a loss; .*_dele',
        ),
        (
            bad(
                distill={
                    'loss_x': dict(
                        type='luminet_mm.KDLoss',
                        student='backbone',
                        teacher='roi.feats',
                    )
                }
            ),
            "RoIs of the student, and 'backbone' has",
        ),
    ],
)
def test_bad_input_is_named(config, message):
    with pytest.raises(ValueError, match=message):
        tiny.build(config)


def test_name_of_a_stock_loss_is_refused():
    model = tiny.build(tiny.distiller(loss_cls=LOSS))
    with pytest.raises(ValueError, match='model.distill.loss_cls.*Rename'):
        step(model)
    model.distill.loss_cls.schedule_factor = 0
    with pytest.raises(ValueError, match='model.distill.loss_cls.*Rename'):
        step(model)


@pytest.mark.parametrize(
    'student, teacher, side',
    [
        ('neck', 'neck', 'student'),
        ('roi.cls_score', 'rpn.cls_score', 'teacher'),
    ],
)
def test_a_logit_loss_on_maps_names_loss_and_signal(student, teacher, side):
    model = tiny.build(
        tiny.distiller(
            loss_kd=dict(
                type='luminet_mm.KDLoss', student=student, teacher=teacher
            )
        )
    )
    with pytest.raises(
        ValueError,
        match=rf"distill.loss_kd \({student}.*the {side}'s signal is a (tuple"
        r'|list), not one tensor',
    ):
        step(model)


def test_a_module_that_does_not_run_is_named():
    model = tiny.build(
        tiny.distiller(
            loss_x=dict(type='luminet_mm.KDLoss', signal='roi_head.bbox_head')
        )
    )
    model.roi_head.bbox_head.register_module('spare', torch.nn.ReLU())
    signal = model.family.find(model, 'roi_head.bbox_head.spare', 'student')
    theirs = model.comparisons['loss_x'].teachers
    model.comparisons['loss_x'] = Comparison('loss_x', [signal], theirs)
    with pytest.raises(RuntimeError, match="head.spare': that module did not"):
        step(model)


def test_an_roi_head_of_another_make_is_named(monkeypatch):
    """PISA's, say, calls `loss` and not `loss_and_target`."""
    model = distiller()
    stock = model.roi_head.bbox_head.loss_and_target

    def bbox_loss(x, sampling_results):
        rois = bbox2roi([res.priors for res in sampling_results])
        results = model.roi_head._bbox_forward(x, rois)
        results['loss_bbox'] = stock(
            results['cls_score'],
            results['bbox_pred'],
            rois,
            sampling_results,
            model.roi_head.train_cfg,
        )['loss_bbox']
        return results

    monkeypatch.setattr(model.roi_head, 'bbox_loss', bbox_loss)
    with pytest.raises(RuntimeError, match="'roi.cls_score': the RoI head"):
        step(model)


@pytest.mark.parametrize('kind', ['faster', 'cascade'])
def test_no_rois_at_all(kind, monkeypatch):
    """A cascade then breaks off; its further losses are still there."""
    model = distiller(kind)
    data = tiny.prepared(model)
    for sample in data['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    predict = model.rpn_head.predict_by_feat
    monkeypatch.setattr(
        model.rpn_head,
        'predict_by_feat',
        lambda *args, **kwargs: [
            result[:0] for result in predict(*args, **kwargs)
        ],
    )
    losses = model.loss(data['inputs'], data['data_samples'])
    for name in model.distill:
        assert losses[name] == 0
        assert losses[name].requires_grad, 'or the other ranks would wait'
    model.parse_losses(losses)[0].backward()


def test_a_teachers_box_head_without_a_box_switch():
    """SABL's head has no `with_reg`; it scores RoIs like any other."""
    teacher = tiny.detector()
    teacher.roi_head.bbox_head = dict(
        type='SABLHead',
        num_classes=4,
        cls_in_channels=16,
        reg_in_channels=16,
        roi_feat_size=7,
        reg_feat_up_ratio=2,
        reg_pre_kernel=3,
        reg_post_kernel=3,
        reg_pre_num=2,
        reg_post_num=1,
        cls_out_channels=32,
        reg_offset_out_channels=16,
        reg_cls_out_channels=16,
        num_cls_fcs=1,
        num_reg_fcs=0,
        bbox_coder=dict(
            type='BucketingBBoxCoder', num_buckets=14, scale_factor=1.7
        ),
    )
    losses, _ = step(distiller(teacher=teacher))
    assert losses['loss_0'] > 0


def test_box_branch_is_whole_again_after_an_error(monkeypatch):
    """Cascade heads with box convolutions of their own: swapped and back."""
    teacher = tiny.detector()
    teacher.roi_head.bbox_head.update(
        type='ConvFCBBoxHead',
        num_shared_fcs=0,
        num_cls_fcs=1,
        num_reg_convs=1,
        num_reg_fcs=1,
        conv_out_channels=16,
    )
    model = distiller(teacher=teacher)
    head = model.teacher.model.roi_head.bbox_head
    layers = head.reg_convs, head.reg_fcs
    ran = []
    for layer in (*layers[0], *layers[1]):
        layer.register_forward_hook(lambda *_: ran.append(1))
    assert len(layers[0]) == len(layers[1]) == 1
    for broken in (False, True):
        if broken:
            monkeypatch.setattr(head.fc_cls, 'forward', lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                step(model)
        else:
            step(model)
        assert not ran
        assert head.with_reg
        assert (head.reg_convs, head.reg_fcs) == layers


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_amp_wrapper_trains_on_a_gpu(tmp_path, dtype):
    runner = tiny.runner(
        tiny.distiller(),
        tmp_path,
        max_epochs=1,
        optim_wrapper=dict(
            type='AmpOptimWrapper',
            dtype=dtype,
            optimizer=dict(type='SGD', lr=0.01),
        ),
        custom_hooks=[dict(type='luminet_mm.TeacherCheckHook')],
        **tiny.validation(),
    )
    before = runner.model.backbone.conv1.weight.detach().clone()
    runner.train()
    assert not torch.equal(before, runner.model.backbone.conv1.weight)
    assert all(p.isfinite().all() for p in runner.model.parameters())


@pytest.mark.parametrize('fails', [False, True])
def test_a_step_leaves_no_tap_behind(fails):
    """A tap that stayed would keep each step's graph, and travel in EMA."""
    model = tiny.build(
        tiny.distiller(
            **{
                f'loss_{index}': dict(type='luminet_mm.KDLoss', signal=signal)
                for index, signal in enumerate(
                    ['roi.cls_score', 'roi_head.bbox_head.fc_cls']
                )
            }
        )
    )
    if fails:
        model.roi_head.bbox_head.loss_cls.forward = lambda *_, **__: 1 / 0
        with pytest.raises(ZeroDivisionError):
            step(model)
    else:
        step(model)
    kept = {'backbone', 'neck'}  # where the teacher converts its maps
    for detector in (model, model.teacher.model):
        for name, module in detector.named_modules():
            assert not module._forward_hooks, name
            assert not module._forward_pre_hooks or (
                detector is not model and name in kept
            ), name
        assert 'loss_and_target' not in vars(detector.roi_head.bbox_head)
