# What loss_weight='auto' costs: one loss on logits and two on maps, each with
# a number for a weight and with one that sets itself, to be timed and not run.
# Every tenth step is measured, so ten steps are a turn:
#   python -m luminet_mm.timing.step_times configs/sweeps/digits_auto_cost.py \
#       --batch-size 8 --image-size 160 160 --repeat 10 --rounds 8 --threads 1
_base_ = 'digits_auto_methods.py'
by_hand = {
    name: dict(
        _base_.runs[name],
        options={
            **_base_.runs[name].options,
            f'model.distill.loss_{name}': _base_.losses[name],
        },
    )
    for name in ('luminet', 'fitnet', 'fgfi')
}
runs = dict(
    _delete_=True,
    student=_base_.runs.student,
    **by_hand,
    **{f'{name}_auto': _base_.runs[name] for name in by_hand},
)
