# Rules for a weight, trained side by side: six losses, each with the weights
# that four rules give at step 150 of a run with loss_weight='auto', fixed from
# the start; one seed that the result tables do not use. How they were found:
#   python tools/sweep.py configs/sweeps/digits_auto_methods.py
#   python -m luminet_mm.analysis.weight_rules \
#       configs/sweeps/digits_auto_methods.py --only luminet \
#       --checkpoint work_dirs/digits_auto_methods/luminet_seed0/epoch_1.pth
# RT-DETRv4's rule gives each of them a weight of 0.
_base_ = 'digits_methods.py'
rules = ('signal', 'layer', 'network', 'value')
weights = dict(
    luminet=(3.33, 5.19, 4.25, 5.37),
    kd=(1.27, 1.52, 1.56, 3.32),
    dist=(0.675, 1.11, 0.993, 2.34),
    nkd=(0.717, 0.685, 0.711, 0.498),
    fitnet=(1.2, 2.47, 0.837, 0.273),
    fgfi=(0.0193, 0.0279, 0.0211, 0.0213),
)
pair = 'configs/_base_/pairs/frcnn_digits_methods.py'
runs = dict(
    _delete_=True,
    student=dict(_base_.runs.student, seeds=[100]),
    **{
        f'{name}_{rule}': dict(
            config=pair,
            seeds=[100],
            options={
                **_base_.runs[name].options,
                f'model.distill.loss_{name}': dict(
                    _base_.losses[name], loss_weight=weight
                ),
            },
        )
        for name, by_rule in weights.items()
        for rule, weight in zip(rules, by_rule, strict=True)
    },
    **{
        f'{name}_auto': dict(
            config=pair,
            seeds=[100],
            options={
                **_base_.runs[name].options,
                f'model.distill.loss_{name}': dict(
                    _base_.losses[name], loss_weight='auto'
                ),
            },
        )
        for name in weights
    },
)
