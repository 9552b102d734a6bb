"""What every family of models promises."""

import copy
import functools
import re
from typing import ClassVar

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from self_loss import (
    awake,
    distiller_of,
    gaps,
    pointwise,
    self_distiller,
    self_losses,
)
from torch.utils._pytree import tree_flatten

from luminet_mm.losses import FeatureLoss
from luminet_mm.registry import MODELS as OUR_MODELS
from luminet_mm.signals.families import logit_names
from luminet_mm.signals.family import Family, Question


@OUR_MODELS.register_module(force=True)
class AnyMean(FeatureLoss):
    """The mean of all that a signal holds; it compares nothing."""

    def forward(self, student, teacher, batch=None):
        tensors = tree_flatten([student, teacher])[0]
        total = sum(x.float().mean() for x in tensors)
        return total * self.loss_weight

    def build(self, student, teacher=None):
        return self

    def compute(self, student, teacher, batch):
        return self(student, teacher)


def tensors(value):
    return [x.detach() for x in tree_flatten(value)[0]]


class FamilyContract:
    """Inherit it with these attributes.

    Attributes:
        family: The family.
        kinds: Kinds of its small stock models, one of each way of its heads.
        padded: ``pad_size_divisor`` of a teacher that pads further, for those
            kinds whose answers do not depend on it. A group norm's do.
    """

    family: Family
    kinds: tuple[str, ...]
    padded: ClassVar[dict[str, int]] = {}

    def config(self, kind, **options):
        """A stock model's block; ``options`` are width and num_classes."""
        raise AssertionError(f'{type(self).__name__} has no config')

    def batch(self, kind, **options):
        """Raw images and annotations."""
        raise AssertionError(f'{type(self).__name__} has no batch')

    # -- helpers ------------------------------------------------------------

    def build(self, config, seed=0):
        torch.manual_seed(seed)
        config = Config(dict(model=copy.deepcopy(config))).model
        with DefaultScope.overwrite_default_scope(self.family.scope):
            model = MODELS.build(config)
            torch.manual_seed(seed)
            model.init_weights()
        return model.train()

    def model(self, kind, **options):
        """A stock model in eval mode, whose layers all say something.

        It is shared: no test may change it.
        """
        return _model(type(self), kind, **options)

    def data(self, model, kind, **options):
        raw = self.batch(kind, **options)
        data = model.data_preprocessor(raw, True)
        return data['inputs'], data['data_samples']

    def find(self, model, *names):
        return [self.family.find(model, name, 'student') for name in names]

    def distiller(self, kind, **losses):
        config = self.config(kind)
        name = distiller_of(config).__name__
        teacher = dict(model=self.config(kind, width=12))
        return dict(
            config,
            type=f'luminet_mm.{name}',
            teacher=dict(config=teacher, checkpoint=None),
            distill=losses,
        )

    def signals(self, kind):
        """Those of the usual kinds that the model has, of every stage."""
        usual = self.family.usual.values()
        return [
            name
            for name in self.family.names(self.model(kind))
            if re.sub(r'\.\d+\b', '', name) in usual
        ]

    # -- names --------------------------------------------------------------

    def test_every_name_is_found(self, kind):
        model = self.model(kind)
        names = self.family.names(model)
        assert len(set(names)) == len(names) and 'backbone' in names
        for name, signal in zip(names, self.find(model, *names)):
            assert signal.name == name and signal.part
        assert logit_names(self.family, model)

    def test_a_module_is_found_by_its_path(self, kind):
        model = self.model(kind)
        first = next(iter(dict(model.backbone.named_children())))
        (signal,) = self.find(model, f'backbone.{first}')
        assert signal.path == f'backbone.{first}'

    def test_another_name_is_refused_with_all_there_are(self, kind):
        model = self.model(kind)
        for name in ('nonsense', 'backbone.nonsense', ''):
            with pytest.raises(ValueError) as info:
                self.find(model, name)
            said = str(info.value)
            assert f'the student ({type(model).__name__})' in said
            assert f'no signal {name!r}' in said
            assert 'publishes backbone' in said

    def test_logits_have_an_activation_and_classes(self, kind):
        model = self.model(kind, num_classes=4)
        for name in logit_names(self.family, model):
            signals = self.find(model, name)
            used = self.family.activation(model, signals)
            assert used in ('softmax', 'sigmoid')
            assert self.family.num_classes(model, signals) == 4
        assert (
            self.family.activation(model, self.find(model, 'backbone')) == ''
        )

    def test_other_classes_are_refused_with_both_numbers(self, kind):
        model, other = (self.model(kind, num_classes=n) for n in (4, 3))
        name = logit_names(self.family, model)[0]
        ours, theirs = (self.find(x, name) for x in (model, other))
        self.family.check('loss_x', model, ours, model, ours)
        with pytest.raises(ValueError, match=r'loss_x: .* 4 .* 3\b'):
            self.family.check('loss_x', model, ours, other, theirs)

    # -- rows ---------------------------------------------------------------

    def test_a_model_answers_what_it_said_itself(self, kind):
        """Of its own pass: row i of an answer is row i of the record."""
        model = self.model(kind)
        names = self.signals(kind)
        inputs, samples = self.data(model, kind)
        questions = [Question([s], [s]) for s in self.find(model, *names)]
        asked = sum((question.asked for question in questions), [])
        with self.family.record(model, asked, inputs, samples) as record:
            model.loss(inputs, samples)
        with torch.no_grad():
            ahead = self.family.ahead(model, inputs, asked)
            answers = self.family.answer(model, ahead, questions, record)
        for question, answer in zip(questions, answers, strict=True):
            said = tensors(record.value(question.rows))
            answered = tensors(answer)
            assert said and len(said) == len(answered), question
            for one, other in zip(said, answered):
                torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
            record.batch(question.rows)

    def test_nothing_is_left_on_the_model(self, kind):
        model = self.model(kind)
        before = {name: set(vars(m)) for name, m in model.named_modules()}
        inputs, samples = self.data(model, kind)
        asked = self.find(model, *self.signals(kind))
        with self.family.record(model, asked, inputs, samples):
            model.loss(inputs, samples)
        for name, module in model.named_modules():
            assert set(vars(module)) == before[name], name
            assert not module._forward_hooks, name
            assert not module._forward_pre_hooks, name

    def test_a_dry_run_has_the_form_of_an_answer(self, kind):
        model = self.model(kind)
        names = self.signals(kind)
        questions = [Question([s], [s]) for s in self.find(model, *names)]
        inputs, _ = self.data(model, kind)
        images = torch.randn(2, *inputs.shape[1:])
        with torch.no_grad():
            answers = self.family.dry(model, questions, images)
        assert len(answers) == len(questions)
        for answer in answers:
            assert all(len(each) for each in tensors(answer))

    # -- a distiller --------------------------------------------------------

    def losses(self, kind, **options):
        return {
            f'loss_{name}'.replace('.', '_'): dict(
                type='luminet_mm.AnyMean', signal=name, **options
            )
            for name in self.signals(kind)
        }

    def test_weight_0_is_stock_training_and_keys_are_stock(self, kind):
        def train(config):
            model = self.build(config, seed=4)
            torch.manual_seed(7)
            optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
            for seed in range(2):
                optimizer.zero_grad()
                inputs, samples = self.data(model, kind, seed=seed)
                losses = model.loss(inputs, samples)
                model.parse_losses(losses)[0].backward()
                optimizer.step()
            return model.state_dict(), torch.rand(2)

        ours, draw = train(
            self.distiller(kind, **self.losses(kind, loss_weight=0.0))
        )
        stock, stock_draw = train(self.config(kind))
        assert list(ours) == list(stock)
        assert torch.equal(draw, stock_draw)
        assert all(torch.equal(ours[key], stock[key]) for key in stock)

    def test_a_model_teaches_itself_nothing(self, kind, tmp_path):
        """Mirrored and prepared as any teacher; one that may pads further."""
        options = {}
        if kind in self.padded:  # its maps are cut to the student's area
            options['pad_size_divisor'] = self.padded[kind]
        with DefaultScope.overwrite_default_scope(self.family.scope):
            twins = self_distiller(
                self.config(kind),
                tmp_path,
                gaps(*self.signals(kind)),
                pointwise if options else None,
                **options,
            )
            found = self_losses(twins, self.batch(kind))
        assert len(found) > 1 and max(found.values()) < 1e-4, found


@functools.cache
def _model(contract, kind, **options):
    self = contract()
    return awake(self.build(self.config(kind, **options))).eval()
