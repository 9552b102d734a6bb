# Every method of digits_methods.py with a weight that sets itself, one share
# for all (loss_weight='auto', share 1), and the student alone; its warm-up and
# its options. The weight of its terms among each other (DKD's alpha and beta,
# ReviewKD's stages) stays the method's own. Five seeds for methods on the
# RoIs' logits, two for the others.
_base_ = 'digits_methods.py'
SEEDS = {True: [0, 1, 2, 3, 4], False: [0, 1]}
runs = dict(
    _delete_=True,
    student=dict(_base_.runs.student, seeds=SEEDS[True]),
    **{
        name: dict(
            config=_base_.runs[name].config,
            seeds=SEEDS[loss.signal == 'roi.cls_score'],
            options={
                **_base_.runs[name].options,
                f'model.distill.loss_{name}': dict(loss, loss_weight='auto'),
            },
        )
        for name, loss in _base_.losses.items()
    },
)
