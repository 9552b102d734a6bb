"""tools/train.py on a run that diverges."""

import pytest
import torch


def test_a_run_that_diverges_ends_and_keeps_what_was_good(
    run_tool, config, dump, tmp_path, capsys
):
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
        config[key] = None
    config.train_cfg.max_epochs = 4
    config.param_scheduler = [
        dict(type='MultiStepLR', milestones=[1], gamma=1e12, by_epoch=True)
    ]
    with pytest.raises(SystemExit) as ended:
        run_tool('train', dump(config))
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert 'The run was stopped' in said and 'Traceback' not in said
    good = tmp_path / 'work' / 'epoch_1.pth'
    assert f'The last good checkpoint is {good}' in said
    assert [path.name for path in good.parent.glob('*.pth')] == [good.name]
    state = torch.load(good, weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in state.values())
