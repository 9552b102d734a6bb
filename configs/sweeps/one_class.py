# One class, two columns: KD, and LumiNet's published form beside others, each
# with two weights. Train configs/few_classes/frcnn_teacher_one-class.py first.
luminet = dict(type='luminet_mm.LumiNetLoss', signal='roi.cls_score', tau=1.0)
losses = dict(
    kd=dict(
        type='luminet_mm.KDLoss',
        signal='roi.cls_score',
        tau=1.0,
        loss_weight=1.0,
    ),
    luminet=dict(luminet, loss_weight=4.0),
    luminet_weak=dict(luminet, loss_weight=1.0),
    luminet_sharp=dict(luminet, tau=0.5, loss_weight=4.0),
    luminet_shared=dict(luminet, shared_scale=True, loss_weight=4.0),
    luminet_shared_weak=dict(luminet, shared_scale=True, loss_weight=1.0),
    luminet_rows=dict(luminet, center_rows=True, loss_weight=4.0),
    luminet_rows_weak=dict(luminet, center_rows=True, loss_weight=1.0),
    luminet_rows_sharp=dict(
        luminet, center_rows=True, tau=0.5, loss_weight=4.0
    ),
)
# The best of the first round, and the usual forms, have three seeds.
again = (
    'kd',
    'luminet',
    'luminet_weak',
    'luminet_shared',
    'luminet_shared_weak',
    'luminet_rows_weak',
)
runs = dict(
    student=dict(
        config='configs/few_classes/frcnn_student_one-class.py',
        seeds=[0, 1, 2],
        options={'train_cfg.val_interval': 3},
    ),
    **{
        name: dict(
            config='configs/_base_/pairs/frcnn_one-class.py',
            seeds=[0, 1, 2] if name in again else [0],
            options={
                'train_cfg.val_interval': 3,
                f'model.distill.loss_{name}': loss,
                f'custom_hooks.1.loss_{name}.warmup': 50,
            },
        )
        for name, loss in losses.items()
    },
)
