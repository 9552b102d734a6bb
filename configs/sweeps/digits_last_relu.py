# The cost of a connector's last ReLU on a pyramid, whose values have both
# signs: the three methods that ended in one, beside today's form. SimKD's
# weight is 0.5 without it, by the rule of digits_methods.py.
fitnet = dict(type='luminet_mm.FitNetLoss', signal='neck', loss_weight=0.4)
fgfi = dict(type='luminet_mm.FGFILoss', signal='neck', loss_weight=0.01)
simkd = dict(type='luminet_mm.SimKDLoss', signal='neck')
losses = dict(
    fgfi=fgfi,
    fitnet=fitnet,
    simkd=dict(simkd, loss_weight=0.5),
    fgfi_relu=dict(fgfi, last_relu=True),
    fitnet_relu=dict(fitnet, connector=dict(type='regressor', last_relu=True)),
    simkd_relu=dict(simkd, last_relu=True, loss_weight=0.4),
)
runs = dict(
    student=dict(
        config='configs/frcnn_student_digits.py',
        seeds=[0, 1, 2],
        options={'train_cfg.val_interval': 3},
    ),
    **{
        name: dict(
            config='configs/_base_/pairs/frcnn_digits_methods.py',
            seeds=[0, 1, 2],
            options={
                'train_cfg.val_interval': 3,
                f'model.distill.loss_{name}': loss,
                f'custom_hooks.1.loss_{name}.warmup': 50,
            },
        )
        for name, loss in losses.items()
    },
)
