"""What losses train beside the student: built from a dry run."""

import copy

import pytest
import tiny
import tiny_cls
import torch
import toy
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from luminet_mm.losses import FitNetLoss
from luminet_mm.teachers.frozen import FrozenTeacher

STAGES = ['backbone.layer2', 'backbone.layer4']


@pytest.fixture(autouse=True)
def _scope(request):
    """Where a Runner would look types up."""
    scope = 'mmdet' if 'detector' in request.fixturenames else 'mmpretrain'
    with DefaultScope.overwrite_default_scope(scope):
        yield


@pytest.fixture
def detector():
    """A function that builds a detector with losses."""

    def build(student=None, teacher=None, **distill):
        return tiny.build(tiny.distiller(student, teacher, **distill))

    return build


def entry(name, signal, **options):
    return dict(type=f'luminet_mm.{name}', signal=signal, **options)


def classifier(**distill):
    return tiny_cls.build(tiny_cls.distiller(**distill))


CLASSIFIER = {
    'fitnet': entry('FitNetLoss', STAGES),
    'at': entry('ATLoss', STAGES),
    'ofd': entry('OFDLoss', STAGES),
    'rkd': entry('RKDLoss', 'feats'),
    'cc': entry('CCLoss', 'feats'),
    'reviewkd': entry('ReviewKDLoss', [*STAGES, 'feats']),
    'fitnet_feats': entry('FitNetLoss', 'feats', connector='mlp'),
}


def test_connectors_to_a_pyramid_have_no_last_relu(detector):
    """The dry run shows which of the teacher's maps have passed a ReLU."""
    model = detector(
        loss_neck=entry('FitNetLoss', 'neck'),
        loss_stage=entry('FitNetLoss', 'backbone'),
        loss_fgfi=entry('FGFILoss', 'neck'),
        loss_simkd=entry('SimKDLoss', 'neck'),
    )
    distill = model.distill
    ends = {
        key: {isinstance(each[-1], torch.nn.ReLU) for each in connectors}
        for key, connectors in (
            ('neck', distill['loss_neck'].connectors),
            ('stage', distill['loss_stage'].connectors),
            ('fgfi', distill['loss_fgfi'].adaptation),
            ('simkd', distill['loss_simkd'].connectors),
        )
    }
    assert ends == dict(
        neck={False}, stage={True}, fgfi={False}, simkd={False}
    )


def test_ranks_and_seeds_build_from_one_image(monkeypatch):
    """Else the last ReLU of a connector could hang on the seed."""
    seen = []
    build = FitNetLoss.build

    def keep(self, student, teacher):
        seen.append(teacher)
        return build(self, student, teacher)

    monkeypatch.setattr(FitNetLoss, 'build', keep)
    config = tiny_cls.distiller(loss_x=CLASSIFIER['fitnet'])
    state = tiny_cls.build(config['teacher']['config']['model']).state_dict()
    load = FrozenTeacher.__init__

    def same(self, *args, **kwargs):
        load(self, *args, **kwargs)
        self.model.load_state_dict(state)

    monkeypatch.setattr(FrozenTeacher, '__init__', same)
    models = [tiny_cls.build(config, seed=seed) for seed in (0, 1)]
    one, other = seen
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b) and a.any()
    starts = [model.distill.loss_x.connectors[0][0].weight for model in models]
    assert not torch.equal(*starts), 'connectors follow the seed'


def test_connectors_leave_the_student_as_it_starts():
    """Neither its weights nor the random numbers that it draws later."""
    stock = tiny_cls.classifier()
    torch.manual_seed(3)
    plain = tiny_cls.MODELS.build(copy.deepcopy(stock))
    plain.init_weights()
    after = torch.rand(4)
    torch.manual_seed(3)
    model = tiny_cls.MODELS.build(
        tiny_cls.distiller(loss_x=CLASSIFIER['reviewkd'])
    )
    state = copy.deepcopy(model.distill.state_dict())
    model.init_weights()
    assert torch.rand(4).equal(after)
    own = model.state_dict()
    for key, value in plain.state_dict().items():
        assert own[key].equal(value), key
    for key, value in model.distill.state_dict().items():
        assert value.equal(state[key]), f'init_weights touched {key}'


def test_dry_run_leaves_batch_norm_and_modes_alone():
    model = tiny_cls.MODELS.build(
        tiny_cls.distiller(loss_x=CLASSIFIER['fitnet'])
    )
    for key, value in model.state_dict().items():
        if 'running_mean' in key:
            assert not value.any(), key
    assert model.training and model.backbone.training
    assert not model.teacher.model.training


def test_connectors_do_not_follow_what_was_drawn_before():
    """Nor, so, how many weights the student has."""
    hint = dict(type='luminet_mm.FitNetLoss', signal='maps')
    starts = []
    for draws in (0, 5):
        torch.manual_seed(3)
        torch.rand(draws)
        model = toy.ToyDistiller(
            teacher=toy.teacher(), distill=dict(loss_x=hint)
        )
        starts.append(next(model.distill.parameters()))
    assert torch.equal(*starts)


def test_connectors_follow_the_seed():
    starts = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model = tiny_cls.MODELS.build(
            tiny_cls.distiller(loss_x=CLASSIFIER['cc'])
        )
        starts.append(next(model.distill.parameters()).detach().clone())
    assert starts[0].equal(starts[1]) and not starts[0].equal(starts[2])


def test_student_and_teacher_lists_of_other_lengths():
    with pytest.raises(ValueError, match='loss_x.*equally many on both sides'):
        classifier(
            loss_x=dict(
                type='luminet_mm.FitNetLoss',
                student=STAGES,
                teacher=STAGES[:1],
            )
        )


def test_features_of_different_kind_are_an_error_when_built():
    with pytest.raises(ValueError, match=r'loss_x \(feats\).*\(B, C, H, W\)'):
        classifier(loss_x=entry('ATLoss', 'feats'))


def test_predictions_have_no_features(detector):
    with pytest.raises(ValueError, match='loss_x'):
        detector(loss_x=entry('ATLoss', 'roi.cls_score'))


def learn(model, batch, lr=0.01):
    """One step of SGD; the log and what changed."""
    optim = build_optim_wrapper(
        model,
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=lr)),
    )
    before = {k: v.detach().clone() for k, v in model.named_parameters()}
    log = model.train_step(batch, optim)
    moved = {k for k, v in model.named_parameters() if not v.equal(before[k])}
    return log, moved


DETECTOR = {
    'fitnet': entry('FitNetLoss', 'neck'),
    'at': entry('ATLoss', 'backbone', levels=[1, 2]),
    'pkd': entry('PKDLoss', 'neck', levels=[0, 1, 2, 3]),
    'reviewkd': entry('ReviewKDLoss', 'neck'),
    'fgfi': entry('FGFILoss', 'neck'),
    'rois': entry('FitNetLoss', 'roi.feats', connector='linear'),
    'hidden': entry(
        'FitNetLoss', 'roi_head.bbox_head.shared_fcs.1', connector='mlp'
    ),
}


@pytest.mark.parametrize('name', CLASSIFIER)
def test_a_step_of_a_classifier(name):
    model = classifier(loss_x=CLASSIFIER[name])
    log, moved = learn(model, tiny_cls.batch())
    assert log['loss_x'].isfinite() and log['loss_x'] > 0
    check_connectors(model, moved)


@pytest.mark.parametrize('name', DETECTOR)
def test_a_step_of_a_detector(name, detector):
    model = detector(loss_x=DETECTOR[name])
    log, moved = learn(model, tiny.batch())
    assert log['loss_x'].isfinite() and log['loss_x'] > 0
    check_connectors(model, moved)


def check_connectors(model, moved):
    loss = model.distill.loss_x
    own = {f'distill.loss_x.{k}' for k, _ in loss.named_parameters()}
    assert bool(own) == loss.has_connectors
    # a bias before a batch norm has no effect and no gradient
    assert all(key.endswith('.bias') for key in own - moved)
    assert any(key.startswith('backbone.') for key in moved)
    assert all(p.isfinite().all() for p in model.parameters())


def test_resume_equals_an_uninterrupted_run(tmp_path):
    """Connectors and their momentum come back; so do OFD's margins."""
    losses = dict(loss_x=CLASSIFIER['ofd'], loss_y=CLASSIFIER['cc'])
    whole = tiny_cls.runner(tiny_cls.distiller(**losses), tmp_path / 'whole')
    whole.train()
    tiny_cls.runner(tiny_cls.distiller(**losses), tmp_path / 'cut', 1).train()
    second = tiny_cls.runner(
        tiny_cls.distiller(**losses),
        tmp_path / 'cut',
        resume=True,
        load_from=str(tmp_path / 'cut' / 'epoch_1.pth'),
    )
    second.train()
    wanted = whole.model.state_dict()
    assert any(key.startswith('distill.loss_x.margins') for key in wanted)
    for key, value in second.model.state_dict().items():
        assert value.equal(wanted[key]), key
