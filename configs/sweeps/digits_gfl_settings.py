# The weight of each method for the GFL student of the digits: six tries each,
# three around the published weight or, where there is none, around 4, and then
# three more beyond or around the best; one seed that the result table does not
# use.
logits = dict(signal='cls_score')
both = dict(signal=['cls_score', 'bbox_pred'])
cut = ['bbox_head.cls_convs.0.preact', 'bbox_head.reg_convs.0.preact']
lumi = dict(type='luminet_mm.DenseLumiNetLoss', **logits)
methods = dict(
    binary_kd=dict(type='luminet_mm.BinaryKDLoss', **logits),
    bckd=dict(type='luminet_mm.BCKDLoss', **both),
    crosskd=dict(
        type='luminet_mm.CrossKDLoss', signal=[*cut, *both['signal']]
    ),
    ld=dict(type='luminet_mm.LDLoss', **both),
    luminet=lumi,
    luminet_softmax=dict(lumi, form='softmax'),
    luminet_top_k=dict(lumi, rows='top_k', stats_rows='top_k', top_k=50),
    luminet_all=dict(lumi, rows='all', stats_rows='all'),
    fgd=dict(type='luminet_mm.FGDLoss', signal='neck'),
    fgfi=dict(type='luminet_mm.FGFILoss', signal='neck'),
    pkd=dict(type='luminet_mm.PKDLoss', signal='neck'),
)
weights = dict(
    binary_kd=(0.5, 1, 2, 0.1, 0.2, 0.3),
    bckd=(0.5, 1, 2, 3, 4, 8),
    crosskd=(0.5, 1, 2, 0.1, 0.2, 0.3),
    ld=(0.5, 1, 2, 0.1, 0.2, 0.3),
    luminet=(1, 4, 16, 0.1, 0.3, 0.6),
    luminet_softmax=(1, 4, 16, 0.1, 0.3, 0.6),
    luminet_top_k=(1, 4, 16, 0.1, 0.3, 0.6),
    luminet_all=(1, 4, 16, 0.1, 0.3, 0.6),
    fgd=(0.3, 1, 3, 6, 10, 20),
    fgfi=(0.003, 0.01, 0.03, 0.06, 0.1, 0.2),
    pkd=(3, 10, 30, 0.3, 1, 2),
)
runs = {
    f'{name}_weight{weight:g}': dict(
        config='configs/_base_/pairs/gfl_digits_methods.py',
        seeds=[100],
        options={
            'train_cfg.val_interval': 6,  # only the last epoch counts
            f'model.distill.loss_{name}': dict(loss, loss_weight=weight),
            f'custom_hooks.1.loss_{name}.warmup': 50,
        },
    )
    for name, loss in methods.items()
    for weight in weights[name]
}
runs['student'] = dict(
    config='configs/one_stage/gfl_student_digits.py',
    seeds=[100],
    options={'train_cfg.val_interval': 6},
)
