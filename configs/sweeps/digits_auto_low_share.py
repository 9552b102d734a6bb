# The methods of digits_auto_methods.py whose means of two seeds are below the
# student's there, but KD and hard labels, once more with a share of 0.3
# instead of 1. The same two seeds.
_base_ = 'digits_auto_methods.py'
BELOW = ('mlld', 'ttm', 'skd', 'at', 'pkt', 'cc', 'rkd', 'sp', 'srd')
runs = dict(
    _delete_=True,
    **{
        f'{name}_share0.3': dict(
            config=_base_.runs[name].config,
            seeds=[0, 1],
            options={
                **_base_.runs[name].options,
                f'model.distill.loss_{name}': dict(
                    _base_.losses[name], loss_weight=dict(share=0.3)
                ),
            },
        )
        for name in BELOW
    },
)
