# The weight of each method on features for the RetinaNet student of the digits
# and its Faster R-CNN teacher: three tries each, one seed that the result
# table does not use.
methods = dict(
    cwd=dict(type='luminet_mm.CWDLoss', signal='neck', connector='linear'),
    fgd=dict(type='luminet_mm.FGDLoss', signal='neck'),
    fgfi=dict(type='luminet_mm.FGFILoss', signal='neck'),
    fitnet=dict(type='luminet_mm.FitNetLoss', signal='neck'),
)
weights = dict(
    cwd=(3, 10, 30),
    fgd=(3, 10, 30),
    fgfi=(0.03, 0.1, 0.3),
    fitnet=(1, 3, 10),
)
runs = {
    f'{name}_weight{weight:g}': dict(
        config='configs/_base_/pairs/frcnn_retinanet_digits_methods.py',
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
