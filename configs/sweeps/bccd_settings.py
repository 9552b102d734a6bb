# Temperature and weight of each method on blood cells: the same number of
# tries for all, one seed that the result table does not use. Train
# configs/frcnn_teacher_bccd.py first.
settings = dict(  # (tau, loss_weight)
    luminet=[(1.0, 1.0), (1.0, 4.0)],
    kd=[(1.0, 0.25), (1.0, 1.0)],
    dkd=[(1.0, 0.25), (1.0, 1.0)],
    dist=[(1.0, 0.25), (1.0, 1.0)],
)
runs = {
    f'{method}_tau{tau:g}_weight{weight:g}': dict(
        config=f'configs/{method}_frcnn_bccd.py',
        seeds=[100],
        options={
            'train_cfg.val_interval': 8,  # only the last epoch counts
            f'model.distill.loss_{method}.tau': tau,
            f'model.distill.loss_{method}.loss_weight': weight,
        },
    )
    for method, tries in settings.items()
    for tau, weight in tries
}
