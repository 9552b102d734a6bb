# The result table on digits in scenes: five seeds of the student alone and of
# each method, with the settings in its config. Only the last epoch counts.
runs = {
    name: dict(
        config=f'configs/{name}_digits.py',
        seeds=[0, 1, 2, 3, 4],
        options={'train_cfg.val_interval': 3},
    )
    for name in (
        'frcnn_student',
        'luminet_frcnn',
        'kd_frcnn',
        'dkd_frcnn',
        'dist_frcnn',
    )
}
