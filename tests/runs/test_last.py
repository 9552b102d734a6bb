"""The checkpoint that a run names as its last."""

import shutil

from saved import empty, save

from luminet_mm.runs.last import last_checkpoint


def test_last_checkpoint_of_a_copied_or_moved_folder(tmp_path):
    old, new = tmp_path / 'old', tmp_path / 'new'
    old.mkdir()
    path = save(old / 'epoch_1.pth')
    (old / 'last_checkpoint').write_text(str(path))
    shutil.copytree(old, new)
    assert last_checkpoint(new) == new / 'epoch_1.pth'
    shutil.rmtree(old)
    assert last_checkpoint(new) == new / 'epoch_1.pth'
    (new / 'epoch_1.pth').unlink()
    assert last_checkpoint(new) is None
    empty(new / 'last_checkpoint')
    assert last_checkpoint(new) is None
