# Every method of cifar10_methods.py that reads maps or vectors, with a weight
# that sets itself, one share for all (loss_weight='auto', share 1), and the
# student alone. Cross entropy has weight 1; schedules, warm-up, options and
# the weight of a method's terms among each other are those of the other grid.
# Methods on logits are in cifar10_logits.py, with ten epochs. Two seeds, three
# for the student.
_base_ = 'cifar10_methods.py'
ON_LOGITS = ('dist_plus', 'sdd')  # they are in the other grid
runs = dict(
    _delete_=True,
    student=_base_.runs.student,
    **{
        name: dict(
            config=_base_.runs[name].config,
            seeds=[0, 1],
            options={
                **_base_.runs[name].options,
                'model.head.loss.loss_weight': 1.0,
                f'model.distill.loss_{name}': dict(loss, loss_weight='auto'),
            },
        )
        for name, loss in _base_.losses.items()
        if loss.get('signal') != 'logits' and name not in ON_LOGITS
    },
)
