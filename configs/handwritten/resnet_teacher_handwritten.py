"""The teacher on handwritten digits: deeper, wider, trained longer.

Needs    nothing; scikit-learn ships the images.
Run      python tools/train.py
         configs/handwritten/resnet_teacher_handwritten.py
"""

_base_ = 'resnet_student_handwritten.py'
model = dict(
    backbone=dict(depth=20, stage_channels=(16, 16, 32, 64)),
    head=dict(in_channels=64),
)
max_epochs = 30
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
param_scheduler = dict(T_max=max_epochs)
