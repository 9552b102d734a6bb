# The weight of each method for the RetinaNet student of the digits and a
# RetinaNet teacher: six tries each, in two rounds, one seed that the result
# table does not use. LD is missing, since boxes of RetinaNet are not
# distributions.
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
    luminet=lumi,
    luminet_softmax=dict(lumi, form='softmax'),
    fgfi=dict(type='luminet_mm.FGFILoss', signal='neck'),
    pkd=dict(type='luminet_mm.PKDLoss', signal='neck'),
)
weights = dict(
    binary_kd=(0.3, 0.5, 1, 2, 3, 10),
    bckd=(1, 3, 6, 10, 20, 30),
    crosskd=(0.3, 1, 3, 10, 20, 40),
    luminet=(0.03, 0.1, 0.3, 1, 3, 10),
    luminet_softmax=(0.3, 0.5, 1, 2, 3, 10),
    fgfi=(0.01, 0.03, 0.06, 0.1, 0.2, 0.3),
    pkd=(1, 3, 10, 30, 60, 100),
)
runs = {
    f'{name}_weight{weight:g}': dict(
        config='configs/_base_/pairs/retinanet_digits_methods.py',
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
    config='configs/one_stage/retinanet_student_digits.py',
    seeds=[100],
    options={'train_cfg.val_interval': 6},
)
