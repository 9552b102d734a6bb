# The weight of each method for the GFL student of the digits: three tries each
# around the published weight or, where there is none, around 4; one seed that
# the result table does not use.
logits = dict(signal='cls_score')
both = dict(signal=['cls_score', 'bbox_pred'])
lumi = dict(type='luminet_mm.DenseLumiNetLoss', **logits)
methods = dict(
    binary_kd=(dict(type='luminet_mm.BinaryKDLoss', **logits), (0.5, 1, 2)),
    bckd=(dict(type='luminet_mm.BCKDLoss', **both), (0.5, 1, 2)),
    crosskd=(
        dict(
            type='luminet_mm.CrossKDLoss',
            signal=[
                'bbox_head.cls_convs.0.preact',
                'bbox_head.reg_convs.0.preact',
                *both['signal'],
            ],
        ),
        (0.5, 1, 2),
    ),
    ld=(dict(type='luminet_mm.LDLoss', **both), (0.5, 1, 2)),
    luminet=(lumi, (1, 4, 16)),
    luminet_softmax=(dict(lumi, form='softmax'), (1, 4, 16)),
    luminet_top_k=(
        dict(lumi, rows='top_k', stats_rows='top_k', top_k=50),
        (1, 4, 16),
    ),
    luminet_all=(dict(lumi, rows='all', stats_rows='all'), (1, 4, 16)),
    fgd=(dict(type='luminet_mm.FGDLoss', signal='neck'), (0.3, 1, 3)),
    fgfi=(
        dict(type='luminet_mm.FGFILoss', signal='neck'),
        (0.003, 0.01, 0.03),
    ),
    pkd=(dict(type='luminet_mm.PKDLoss', signal='neck'), (3, 10, 30)),
)
runs = {
    f'{name}_weight{weight:g}': dict(
        config='configs/_base_/pairs/gfl_digits.py',
        seeds=[100],
        options={
            'train_cfg.val_interval': 6,  # only the last epoch counts
            f'model.distill.loss_{name}': dict(loss, loss_weight=weight),
            f'custom_hooks.1.loss_{name}.warmup': 50,
        },
    )
    for name, (loss, weights) in methods.items()
    for weight in weights
}
runs['student'] = dict(
    config='configs/one_stage/gfl_student_digits.py',
    seeds=[100],
    options={'train_cfg.val_interval': 6},
)
