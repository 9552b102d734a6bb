# Two and five classes, and blood cells of one: LumiNet's published form
# beside its two options, each with its best weight for all classes of
# that set. Train the three teachers of configs/few_classes/ first.
forms = dict(
    luminet=dict(),
    rows=dict(center_rows=True),
    shared=dict(shared_scale=True),
)
sets = {
    'two-class': dict(weight=4.0, interval=3),
    'five-class': dict(weight=4.0, interval=3),
    'one-class_bccd': dict(weight=1.0, interval=8),
}
runs = dict(
    **{
        f'student_{name}': dict(
            config=f'configs/few_classes/frcnn_student_{name}.py',
            seeds=[0, 1, 2],
            options={'train_cfg.val_interval': each['interval']},
        )
        for name, each in sets.items()
    },
    **{
        f'{form}_{name}': dict(
            config=f'configs/_base_/pairs/frcnn_{name}.py',
            seeds=[0, 1, 2],
            options={
                'train_cfg.val_interval': each['interval'],
                'model.distill.loss_luminet': dict(
                    type='luminet_mm.LumiNetLoss',
                    signal='roi.cls_score',
                    tau=1.0,
                    loss_weight=each['weight'],
                    **options,
                ),
                'custom_hooks.1.loss_luminet.warmup': 50,
            },
        )
        for name, each in sets.items()
        for form, options in forms.items()
    },
)
