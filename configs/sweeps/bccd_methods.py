# The five best methods of each grid, cifar10_methods.py and digits_methods.py,
# on blood cells: three seeds, settings and warm-up of the grid on digits. PKD,
# the best on CIFAR-10, needs equal channels, which the pyramids do not have.
# SimKD came among the best on digits later, without its last ReLU.
# Train configs/frcnn_teacher_bccd.py first.
_base_ = 'digits_methods.py'
best_of_cifar10 = ['cwd', 'ofd', 'nst', 'fitnet', 'reviewkd']
best_of_digits = ['fcfd', 'cwd', 'reviewkd', 'ofd', 'fgfi']
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
        for name in dict.fromkeys([*best_of_cifar10, *best_of_digits])
    },
)
