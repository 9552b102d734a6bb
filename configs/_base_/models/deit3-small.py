# DeiT III-S as a teacher, with the second norm that MMPretrain leaves out.
_base_ = 'mmpretrain::_base_/models/deit3/deit3-small-p16-224.py'
model = dict(backbone=dict(type='luminet_mm.DeiT3'))
data_preprocessor = dict(
    num_classes=1000,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
