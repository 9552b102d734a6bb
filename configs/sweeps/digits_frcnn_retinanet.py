# The result table of the digits' RetinaNet student, taught by Faster R-CNN:
# five seeds of the student alone and of the two best methods, with the
# settings in their configs. Only the last epoch counts.
names = (
    'retinanet_student',
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
