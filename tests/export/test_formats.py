"""Files that other programs run: the same outputs on other inputs."""

import importlib.util

import pytest
import tiny
import tiny_cls
import tiny_dense
import torch
from torch import nn

from luminet_mm.export import formats
from luminet_mm.export.formats import LIMIT, difference, export
from luminet_mm.export.parts import Part, parts_of

MODELS = dict(
    classifier=lambda: tiny_cls.build(tiny_cls.classifier()),
    gfl=lambda: tiny.build(tiny_dense.detector('gfl')),
    faster=lambda: tiny.build(tiny.detector()),
)


def part_of(module, outputs=('sum',)):
    return Part(
        'part',
        module,
        ('images',),
        outputs,
        lambda length: (torch.rand(length, 3),),
        (True,),
    )


@pytest.mark.parametrize('kind', MODELS)
def test_torchscript(kind, tmp_path):
    for part in parts_of(MODELS[kind](), (64, 64)):
        found = export(part, str(tmp_path / kind), 'torchscript')
        assert found.difference < 1e-4
        assert found.path.is_file() and found.path.suffix == '.pt'
        # without this package, and with another number of images or RoIs
        loaded = torch.jit.load(str(found.path))
        inputs = part.example(5)
        with torch.no_grad():
            assert difference(part.module(*inputs), loaded(*inputs)) < 1e-4


@pytest.mark.parametrize('kind', MODELS)
def test_onnx(kind, tmp_path):
    for package in formats.PACKAGES:
        pytest.importorskip(package, reason="pip install 'luminet_mm[export]'")
    import onnxruntime

    for part in parts_of(MODELS[kind](), (64, 64)):
        found = export(part, str(tmp_path / kind), 'onnx')
        assert found.difference < 1e-4
        session = onnxruntime.InferenceSession(str(found.path))
        assert [each.name for each in session.get_inputs()] == [*part.inputs]
        assert [x.name for x in session.get_outputs()] == [*part.outputs]
        inputs = part.example(5)
        fed = {n: x.numpy() for n, x in zip(part.inputs, inputs)}
        outputs = [torch.from_numpy(x) for x in session.run(None, fed)]
        with torch.no_grad():
            assert difference(part.module(*inputs), outputs) < 1e-4


def test_a_file_that_computes_something_else_is_not_left(tmp_path):
    class Counts(nn.Module):
        """A trace keeps the length of its example."""

        def forward(self, images):
            return (images.sum() * len(images.tolist()),)

    with pytest.raises(ValueError, match='its outputs differ from those of'):
        export(part_of(Counts()), str(tmp_path / 'x'), 'torchscript')
    assert not list(tmp_path.iterdir())


def test_no_file_is_replaced(tmp_path):
    (tmp_path / 'x_part.pt').write_text('precious')
    with pytest.raises(FileExistsError, match='already exists'):
        export(part_of(nn.Identity()), str(tmp_path / 'x'), 'torchscript')
    assert (tmp_path / 'x_part.pt').read_text() == 'precious'


def test_onnx_says_what_it_lacks(tmp_path, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        formats, 'find_spec', lambda n: None if n[:4] == 'onnx' else there(n)
    )
    with pytest.raises(ImportError) as error:
        export(part_of(nn.Identity()), str(tmp_path / 'x'), 'onnx')
    assert 'pip install onnx onnxruntime onnxscript' in str(error.value)


def test_difference():
    one = [torch.tensor([1.0, -4.0]), torch.zeros(2)]
    assert difference(one, one) == 0
    other = [torch.tensor([1.0, -4.0 - 4 * LIMIT]), torch.zeros(2)]
    assert difference(one, other) == pytest.approx(LIMIT, rel=1e-3)
    assert difference(one, [one[0] * torch.nan, one[1]]) != 0
    # rounding around 0 is not a difference
    assert difference([one[0] * 1e-9], [-one[0] * 1e-9]) < 1e-5
    with pytest.raises(ValueError, match='has the shape'):
        difference(one, [one[0][:1], one[1]])
