# Every method of digits_methods.py with a weight that sets itself, one share
# for all (loss_weight='auto', share 1), and the student alone; its seeds, its
# warm-up and its options. The weight of its terms among each other (DKD's
# alpha and beta, ReviewKD's stages) stays the method's own.
_base_ = 'digits_methods.py'
runs = dict(
    _delete_=True,
    student=_base_.runs.student,
    **{
        name: dict(
            config=_base_.runs[name].config,
            seeds=[0, 1],
            options={
                **_base_.runs[name].options,
                f'model.distill.loss_{name}': dict(loss, loss_weight='auto'),
            },
        )
        for name, loss in _base_.losses.items()
    },
)
