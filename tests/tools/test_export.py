"""tools/export.py: from a checkpoint of a distillation to the student."""

import pytest
import torch
from mmengine.config import Config
from tiny import build, distiller

from luminet_mm.export import FORMATS


@pytest.fixture
def trained(tmp_path, dump):
    cfg = Config(dict(default_scope='mmdet', model=distiller()))
    file = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=build(distiller()).state_dict()), file)
    return dump(cfg), file


def test_a_detector_is_two_files(run_tool, trained, tmp_path, capsys):
    arguments = ('--size', 64, 64, '--format', 'torchscript')
    run_tool('export', *trained, tmp_path / 'out/student', *arguments)
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == ['student_roi.pt', 'student_rpn.pt']
    said = capsys.readouterr().out
    assert f'wrote {tmp_path / "out/student_rpn.pt"}, the largest diff' in said
    assert 'rois, neck_0, neck_1, neck_2, neck_3' in said
    rpn = torch.jit.load(str(tmp_path / 'out/student_rpn.pt'))
    assert len(rpn(torch.rand(1, 3, 64, 64))) == 15

    with pytest.raises(SystemExit):
        run_tool('export', *trained, tmp_path / 'out/student', *arguments)
    assert 'already exists; it was not changed' in capsys.readouterr().err


def test_a_wrong_size_is_one_message(run_tool, trained, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_tool('export', *trained, tmp_path / 'x', '--size', 60, 64)
    assert 'multiple of 32' in capsys.readouterr().err


def test_the_formats_of_the_usage_text_are_all(load_tool):
    """Written out there, since importing them would import torch."""
    assert set(load_tool('export').FORMATS) == set(FORMATS)
