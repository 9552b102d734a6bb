# MLLD, which ends far below the plain student in digits_methods.py, once more
# (seed 0): with a tenth of the weight, and without its Gram matrices, with a
# weight by the same rule as there.
_base_ = 'digits_methods.py'
losses = dict(
    mlld_tenth=dict(_base_.losses.mlld, loss_weight=0.0005),
    mlld_rows=dict(
        _base_.losses.mlld,
        batch_weight=0.0,
        class_weight=0.0,
        loss_weight=0.09,
    ),
)
runs = dict(
    _delete_=True,
    **{
        name: dict(
            config=_base_.runs.mlld.config,
            seeds=[0],
            options={
                **_base_.runs.mlld.options,
                'model.distill.loss_mlld': losses[name],
            },
        )
        for name in ('mlld_tenth', 'mlld_rows')
    },
)
