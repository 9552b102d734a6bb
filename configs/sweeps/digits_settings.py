# Temperature and weight of each method on digits in scenes: three tries each,
# around the best of a first sweep, which had the same three for all; one seed
# that the result table does not use.
settings = dict(  # (tau, loss_weight)
    luminet=[(1.0, 4.0), (1.0, 8.0), (2.0, 8.0)],
    kd=[(1.0, 0.25), (1.0, 1.0), (2.0, 0.5)],
    dkd=[(1.0, 0.25), (1.0, 1.0), (2.0, 0.5)],
    dist=[(1.0, 0.25), (1.0, 1.0), (2.0, 0.5)],
)
runs = {
    f'{method}_tau{tau:g}_weight{weight:g}': dict(
        config=f'configs/{method}_frcnn_digits.py',
        seeds=[100],
        options={
            'train_cfg.val_interval': 3,  # only the last epoch counts
            f'model.distill.loss_{method}.tau': tau,
            f'model.distill.loss_{method}.loss_weight': weight,
        },
    )
    for method, tries in settings.items()
    for tau, weight in tries
}
