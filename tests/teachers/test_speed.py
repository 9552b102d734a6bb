"""A prepared teacher answers as it did, and faster."""

import copy

import pytest
import tiny
import tiny_cls
import torch
from fast_nets import Net, answers, made_fast, norms, simple, trained
from mmengine.registry import DefaultScope
from torch import nn

from luminet_mm.teachers import speed as preparing
from luminet_mm.teachers.dry_run import said_of
from luminet_mm.teachers.form import Form
from luminet_mm.teachers.speed import Speed, fit, prepare

CPU = torch.device('cpu')


def test_folded_and_laid_out_it_answers_the_same():
    net = trained(Net(simple()))
    before = answers(net)()
    folded, fitted = made_fast(net, answers(net))
    assert folded.startswith('1 of 1 batch norms folded; what the losses')
    assert fitted.startswith('channels_last; what the losses')
    after = answers(net)()
    assert not norms(net)
    assert after.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


def test_each_step_can_be_switched_off():
    net = trained(Net(simple()))
    for said in made_fast(
        net, answers(net), fold_bn=False, channels_last=False
    ):
        assert said.startswith('as it is; what the losses read of it moved ')
        assert '0.0e+00' in said
    assert len(norms(net)) == 1
    assert answers(net)().is_contiguous()


def test_a_tapped_convolution_keeps_its_own_output():
    net = trained(Net(simple()))
    taken = []
    net.backbone[0].register_forward_hook(lambda m, i, out: taken.append(out))

    def tapped():
        taken.clear()
        net(torch.ones(1, 3, 8, 8))
        return taken[0]

    before = tapped()
    assert '0 of 1 batch norms' in made_fast(net, tapped)[0]
    torch.testing.assert_close(tapped(), before)


@pytest.mark.parametrize('dtype', ['bf16', 'fp16'])
def test_low_precision_inside_and_float32_outside(dtype):
    net = trained(Net(simple()))
    before = answers(net)()
    said, _ = made_fast(net, answers(net), dtype=dtype)
    assert f'norms folded, {dtype};' in said
    assert {p.dtype for p in net.parameters()} == {
        dict(bf16=torch.bfloat16, fp16=torch.float16)[dtype]
    }
    after = answers(net)()
    assert after.dtype == torch.float32
    assert 0 < (after - before).norm() / before.norm() < 0.02


def test_precision_that_moves_the_answers_too_far_is_refused():
    net = trained(Net(simple()))
    net.backbone.insert(0, nn.Hardtanh(99.9, 100.1))  # all alike in 8 bits
    net.backbone.insert(1, nn.BatchNorm2d(3).eval())
    net.backbone[1].running_mean.fill_(100)
    net.backbone[1].running_var.fill_(1e-4)
    noise = torch.rand(2, 3, 16, 16) * 0.2 + 99.9
    with pytest.raises(ValueError, match=r"dtype='bf16' moves .* Set teach"):
        made_fast(net, lambda: net(noise), dtype='bf16')


@pytest.mark.parametrize(
    'option, value, message',
    [
        ('dtype', 'int8', "set 'bf16', 'fp16', 'auto' or None"),
        ('channels_last', 'yes', "set one of 'auto', True, False"),
        ('stream', 2, 'set one of True, False'),
        ('compile', 'auto', 'set one of True, False'),
    ],
)
def test_an_unknown_option_is_named(option, value, message):
    cfg = tiny.distiller()
    cfg.teacher[option] = value
    with pytest.raises(
        ValueError, match=f'teacher.{option} is {value!r}; {message}'
    ):
        tiny.build(cfg)


@pytest.mark.parametrize('depth', [18, 50])
def test_a_detector(depth):
    """All norms of backbone and pyramid; RoI logits and boxes to 1e-4."""
    model = tiny.build(
        tiny.distiller(
            teacher=tiny.detector(depth=depth),
            loss_x=dict(type='luminet_mm.KDLoss', signal='roi.cls_score'),
        )
    )
    prepared = model.teacher.model
    assert not norms(prepared.backbone) and not norms(prepared.neck)
    assert norms(model.backbone)


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='luminet_mm.CIFARResNet', depth=20),
        dict(type='luminet_mm.CIFARWideResNet', depth=16, widen_factor=2),
        dict(type='luminet_mm.CIFARMobileNetV2'),
        dict(type='luminet_mm.CIFARShuffleNetV1'),
        dict(type='luminet_mm.CIFARShuffleNetV2'),
        dict(type='luminet_mm.CIFARVGG', depth=8),
        dict(type='mmpretrain.ResNet', depth=50, base_channels=8),
        dict(type='mmpretrain.MobileNetV2'),
        dict(type='mmpretrain.RegNet', arch='regnetx_400mf'),
    ],
    ids=lambda cfg: cfg['type'].partition('.')[2],
)
def test_backbones(backbone):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = dict(tiny_cls.classifier(), backbone=backbone)
        net = trained(Net(tiny_cls.build(model).backbone))
    original = copy.deepcopy(net)
    count = len(norms(net))
    made_fast(net, answers(net, size=32))
    left = len(norms(net))
    # a pre-activation network begins its blocks with a norm
    assert left <= 0.6 * count
    ours, theirs = answers(net, size=32)(), answers(original, size=32)()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_low_precision_is_no_default():
    assert Speed().dtype is None


def blind():
    """A network whose inputs are all alike in 8 bits, and its inputs."""
    net = trained(Net(simple()))
    net.backbone.insert(0, nn.BatchNorm2d(3).eval())
    net.backbone[0].running_mean.fill_(100)
    net.backbone[0].running_var.fill_(1e-4)
    noise = torch.rand(
        2, 3, 16, 16, generator=torch.Generator().manual_seed(0)
    )
    return net.requires_grad_(False), noise * 0.2 + 99.9


def test_automatic_precision_takes_bf16_where_it_is_native(monkeypatch):
    monkeypatch.setattr(preparing, 'computes_bf16', lambda device: True)
    net = trained(Net(simple()))
    _, said = made_fast(net, answers(net), dtype='auto')
    assert said.startswith('bf16, channels_last;')
    assert {p.dtype for p in net.parameters()} == {torch.bfloat16}
    assert answers(net)().dtype == torch.float32


def test_automatic_precision_takes_float32_elsewhere(monkeypatch):
    monkeypatch.setattr(preparing, 'computes_bf16', lambda device: False)
    net = trained(Net(simple()))
    _, said = made_fast(net, answers(net), dtype='auto')
    assert said.startswith('float32 (no native bf16 on cpu), channels_last;')
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_automatic_precision_goes_back_where_it_moves_too_much(monkeypatch):
    monkeypatch.setattr(preparing, 'computes_bf16', lambda device: True)
    net, noise = blind()
    before = copy.deepcopy(net)
    _, said = made_fast(net, lambda: net(noise), dtype='auto', fold_bn=False)
    assert said.startswith('float32 (bf16 would move them by ')
    for key, value in net.state_dict().items():
        assert torch.equal(value, before.state_dict()[key]), key
    torch.testing.assert_close(net(noise), before(noise))


class Mixed(nn.Conv2d):
    """Like Swin, whose bias makes its attention float32 again."""

    def forward(self, x):
        x = x + torch.zeros(1)  # of the type that is the default
        return super().forward(x.float())


def mixed():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), Mixed(6, 4, 3))
    return trained(Net(net))


def test_automatic_precision_goes_back_where_a_network_cannot(monkeypatch):
    monkeypatch.setattr(preparing, 'computes_bf16', lambda device: True)
    net = mixed()
    run = answers(net)
    before = run()

    def ask():
        with said_of('teacher', net, torch.zeros(2, 3, 16, 16)):
            return run()

    _, said = made_fast(net, ask, dtype='auto')
    assert said.startswith('float32 (it does not run in bf16: RuntimeError: ')
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    after = answers(net)()
    assert after.dtype == torch.float32
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    'error',
    [
        MemoryError(),
        torch.OutOfMemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED'),
        RuntimeError('CUDA error: device-side assert triggered'),
    ],
)
def test_memory_that_is_short_is_no_precision_s_fault(monkeypatch, error):
    monkeypatch.setattr(preparing, 'computes_bf16', lambda device: True)
    net = trained(Net(simple()))
    run = answers(net)

    def ask():
        if net.backbone[0].weight.dtype == torch.bfloat16:
            raise error
        return run()

    with pytest.raises(type(error)) as found:
        made_fast(net, ask, dtype='auto')
    assert found.value is error


@pytest.mark.parametrize('dtype', ['bf16', 'fp16'])
def test_a_named_precision_in_which_a_network_cannot_run(dtype):
    net = mixed()
    run = answers(net)

    def ask():
        with said_of('teacher', net, torch.zeros(2, 3, 16, 16)):
            return run()

    with pytest.raises(ValueError, match='does not run in that') as error:
        made_fast(net, ask, dtype=dtype)
    text = str(error.value)
    assert text.startswith(f"teacher.dtype='{dtype}': the teacher does not")
    assert 'precision (RuntimeError: ' in text and 'pixels' not in text
    assert "Set teacher.dtype=None, or to 'auto', which takes fl" in text


def test_a_named_precision_that_the_device_does_not_know():
    """It ran where it was built."""
    net = trained(Net(simple()))
    speed, form, ask = Speed(dtype='bf16'), Form(), answers(net)
    prepare(net, ask, speed, form)
    net.backbone[0] = Mixed(3, 6, 3).requires_grad_(False)
    net.backbone[0].to(torch.bfloat16)
    with pytest.raises(ValueError, match="dtype='bf16': the teacher does no"):
        fit(net, ask, speed, form, CPU)


def test_a_network_that_cannot_be_compiled(monkeypatch):
    def compile(self, **options):
        self.forward = lambda *args: 1 / 0

    monkeypatch.setattr(nn.Module, 'compile', compile)
    net = trained(Net(simple()))
    with pytest.raises(
        ValueError,
        match='compiled backbone on cpu, does not run: ZeroDivisionError: .*'
        'teacher.compile=False',
    ):
        made_fast(net, answers(net), compile=True)


def test_answers_that_the_device_moves_too_far_are_refused(monkeypatch):
    monkeypatch.setattr(preparing, '_bound', lambda form, device: -1.0)
    net = trained(Net(simple()))
    with pytest.raises(ValueError, match='channels_last on cpu, gives other'):
        made_fast(net, answers(net), channels_last=True)


@pytest.fixture
def graphs(monkeypatch):
    """Compile without generating code, and count the graphs."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    compile = nn.Module.compile
    monkeypatch.setattr(
        nn.Module,
        'compile',
        lambda self, **options: compile(self, backend='eager', **options),
    )
    counters.clear()
    yield lambda: counters['stats']['unique_graphs']
    torch._dynamo.reset()


def test_one_compilation_serves_every_image_size(graphs):
    net = trained(Net(simple()))
    plain = copy.deepcopy(net)
    _, said = made_fast(net, answers(net, width=24), compile=True)
    assert said.startswith('channels_last, compiled backbone;')
    assert graphs() == 1
    for shape in ((2, 3, 16, 16), (5, 3, 20, 36), (4, 3, 41, 24)):
        image = torch.randn(shape)
        with torch.no_grad():
            torch.testing.assert_close(
                net(image), plain(image), rtol=1e-5, atol=1e-5
            )
    assert graphs() == 1


def test_a_part_that_is_read_inside_is_not_compiled(graphs):
    net = trained(Net(simple()))
    net.neck = nn.Conv2d(4, 4, 1)
    said = fit(
        net,
        answers(net),
        Speed(compile=True),
        Form(),
        CPU,
        tapped=['backbone'],
    )
    assert 'compiled neck (losses read inside of backbone)' in said
    assert net.backbone._compiled_call_impl is None
    assert net.neck._compiled_call_impl is not None


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize('kind', ['classifier', 'detector'])
def test_compiled_teachers_of_images_of_several_sizes(kind):
    """With generated code: the same losses, and compiling comes to an end.

    A size that equals another, such as images in a batch and pixels in a map,
    may cost one more graph. `backbone` and `neck` are signals as well: hooks
    that are registered later would not be called.
    """
    from torch._dynamo.utils import counters

    helper = tiny if kind == 'detector' else tiny_cls
    logits = 'roi.cls_score' if kind == 'detector' else 'logits'
    losses = dict(
        loss_kd=dict(type='luminet_mm.KDLoss', signal=logits),
        loss_at=dict(type='luminet_mm.ATLoss', signal='backbone'),
    )
    scope = 'mmdet' if kind == 'detector' else 'mmpretrain'
    with DefaultScope.overwrite_default_scope(scope):
        models = []
        for compile in (False, True):
            cfg = helper.distiller(**losses)
            cfg['teacher']['compile'] = compile
            models.append(helper.build(cfg))
        counters.clear()
        counts = []
        for size, images in ((64, 2), (96, 3), (128, 4), (160, 5)):
            found = []
            for model in models:
                data = helper.prepared(model, num_images=images, size=size)
                torch.manual_seed(0)
                found.append(model.loss(data['inputs'], data['data_samples']))
            for name in losses:
                torch.testing.assert_close(
                    found[0][name], found[1][name], rtol=1e-3, atol=1e-5
                )
            counts.append(counters['stats']['unique_graphs'])
        assert 0 < counts[2] == counts[3]


@pytest.mark.parametrize('named', ['auto', True])
def test_a_layout_that_an_operator_does_not_know(named):
    """Some compiled operators want one layout: 'auto' goes back to it."""

    class Picky(nn.Conv2d):
        def forward(self, x):
            if not self.weight.is_contiguous():
                raise RuntimeError('weight must be contiguous')
            return super().forward(x)

    net = trained(Net(nn.Sequential(Picky(3, 6, 3), nn.Conv2d(6, 4, 3))))
    before = answers(net)()
    if named is True:
        with pytest.raises(
            ValueError,
            match='channels_last on cpu, does not run: RuntimeError: weight '
            'must be contiguous. Set teacher.channels_last=False',
        ):
            made_fast(net, answers(net), channels_last=named)
        return
    _, fitted = made_fast(net, answers(net), channels_last=named)
    assert fitted.startswith('not channels_last (it changes the answers); ')
    assert net.backbone[0].weight.is_contiguous()
    assert torch.equal(answers(net)(), before)
