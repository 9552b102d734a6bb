# Temperature and weight of each method on digits in scenes: the same three
# tries for all, one seed that the result table does not use.
settings = [(1.0, 1.0), (1.0, 4.0), (2.0, 4.0)]  # (tau, loss_weight)
runs = {
    f'{method}_tau{tau:g}_weight{weight:g}': dict(
        config=f'configs/{method}_frcnn_digits.py',
        seeds=[100],
        options={
            'train_cfg.val_interval': 3,  # the last epoch alone counts
            f'model.distill.loss_{method}.tau': tau,
            f'model.distill.loss_{method}.loss_weight': weight,
        },
    )
    for tau, weight in settings
    for method in ('luminet', 'kd', 'dkd', 'dist')
}
