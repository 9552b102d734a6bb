# The result table on blood cells: three seeds of the student alone and of each
# method. Train configs/frcnn_teacher_bccd.py first.
runs = {
    name: dict(
        config=f'configs/{name}_bccd.py',
        seeds=[0, 1, 2],
        options={'train_cfg.val_interval': 8},
    )
    for name in (
        'frcnn_student',
        'luminet_frcnn',
        'kd_frcnn',
        'dkd_frcnn',
        'dist_frcnn',
    )
}
