"""Side streams and uploads; what needs a GPU is skipped without one."""

from contextlib import contextmanager

import pytest
import tiny
import tiny_cls
import torch
from mmengine.registry import DefaultScope

from luminet_mm import streams
from luminet_mm.streams import Pending, run_beside, upload

gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]


def test_without_a_stream_values_are_there():
    values = dict(a=[torch.ones(2)])
    assert Pending(values).wait() is values


def test_an_upload_holds_the_numbers():
    sizes = upload([(3, 4), (5, 6)], torch.device('cpu'))
    assert sizes.tolist() == [[3, 4], [5, 6]]


class Stream:
    """Writes down what is asked of it."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def wait_stream(self, other):
        self.log.append(f'{self.name} waits for {other.name}')

    def wait_event(self, event):
        self.log.append(f'{self.name} waits for {event.name}')

    def record_event(self):
        self.log.append(f'{self.name} marks its end')
        event = Stream('the mark', self.log)
        event.device = None
        return event


def test_order_of_a_side_stream(monkeypatch):
    """Told by stand-ins: what has to wait for what."""
    log = []
    main, side = Stream('main', log), Stream('side', log)

    @contextmanager
    def on(stream):
        log.append(f'on {stream.name}')
        yield
        log.append(f'off {stream.name}')

    monkeypatch.setattr(streams, '_side_stream', lambda device: side)
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: main)
    monkeypatch.setattr(torch.cuda, 'stream', on)
    monkeypatch.setattr(
        torch.Tensor,
        'record_stream',
        lambda self, stream: log.append(f'{stream.name} uses {len(self)}'),
    )
    pending = run_beside(
        lambda: log.append('compute') or dict(maps=[torch.ones(7)], n=1),
        torch.ones(2),
    )
    assert log == [
        'side waits for main',
        'on side',
        'side uses 2',
        'compute',
        'side marks its end',
        'off side',
    ]
    log.clear()
    for _ in range(2):  # a second loss of the same teacher
        assert pending.wait()['maps'][0].sum() == 7
    assert log == ['main waits for the mark', 'main uses 7']


def build(kind, **options):
    if kind == 'detector':
        cfg = tiny.distiller()
        cfg.teacher.update(options)
        return tiny.build(cfg), tiny
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = tiny_cls.distiller()
        cfg['teacher'].update(options)
        return tiny_cls.build(cfg), tiny_cls


@pytest.mark.parametrize(
    'kind',
    [pytest.param(k, marks=gpu) for k in ('detector', 'classifier')],
)
def test_a_side_stream_changes_no_answer(kind):
    losses = []
    for stream in (False, True):
        model, helper = build(kind, stream=stream)
        model.cuda()
        for seed in range(3):
            data = helper.prepared(model, seed=seed)
            torch.manual_seed(seed)
            losses.append(
                model.loss(data['inputs'], data['data_samples'])[
                    'loss_luminet'
                ]
            )
    torch.testing.assert_close(losses[:3], losses[3:])


@pytest.mark.parametrize(
    'kind',
    [pytest.param(k, marks=gpu) for k in ('detector', 'classifier')],
)
def test_nothing_of_ours_waits(kind):
    """Outside of the stock student's pass and the RoI extractor's look-ups."""
    model, helper = build(kind)
    model.cuda()
    data = helper.prepared(model)
    for _ in range(2):  # what happens once has happened
        model.loss(data['inputs'], data['data_samples'])

    def watched(function):
        def run(*args, **kwargs):
            torch.cuda.set_sync_debug_mode('error')
            try:
                return function(*args, **kwargs)
            finally:
                torch.cuda.set_sync_debug_mode('default')

        return run

    def unwatched(function):
        def run(*args, **kwargs):
            before = torch.cuda.get_sync_debug_mode()
            torch.cuda.set_sync_debug_mode('default')
            try:
                return function(*args, **kwargs)
            finally:
                torch.cuda.set_sync_debug_mode(before)

        return run

    for name in ('begin_teachers', 'ask_teachers', 'add_loss'):
        setattr(model, name, watched(getattr(model, name)))
    if kind == 'detector':
        head = model.teacher.model.roi_head
        head._bbox_forward = unwatched(head._bbox_forward)
    model.loss(data['inputs'], data['data_samples'])
