# The result table of the digits' RetinaNet student, taught by Faster R-CNN:
# five seeds of the student alone and of each method, with the settings in its
# config. Only the last epoch counts.
names = (
    'retinanet_student',
    'cwd_frcnn_retinanet',
    'fgd_frcnn_retinanet',
    'fgfi_frcnn_retinanet',
    'fitnet_frcnn_retinanet',
)
runs = {
    name: dict(
        config=f'configs/one_stage/{name}_digits.py',
        seeds=[0, 1, 2, 3, 4],
        options={'train_cfg.val_interval': 6},
    )
    for name in names
}
