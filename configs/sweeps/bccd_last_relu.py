# As digits_last_relu.py, on blood cells: without SimKD, which was not among
# the best there. Train configs/frcnn_teacher_bccd.py first.
_base_ = 'digits_last_relu.py'
runs = dict(
    _delete_=True,
    student=dict(
        config='configs/frcnn_student_bccd.py',
        seeds=[0, 1, 2],
        options={'train_cfg.val_interval': 8},
    ),
    **{
        name: dict(
            config='configs/_base_/pairs/frcnn_bccd_methods.py',
            seeds=[0, 1, 2],
            options={
                **_base_.runs[name].options,
                'train_cfg.val_interval': 8,
            },
        )
        for name in ('fgfi', 'fitnet', 'fgfi_relu', 'fitnet_relu')
    },
)
