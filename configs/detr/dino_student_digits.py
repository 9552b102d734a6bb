"""A slim DINO alone on digits in scenes: the baseline.

Needs    nothing; the data are made on first use.
Run      python tools/train.py configs/detr/dino_student_digits.py
"""

_base_ = [
    '../_base_/models/dino_slim.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/short_6e.py',
    '../_base_/digits_runtime.py',
]
optim_wrapper = dict(
    optimizer=dict(lr=0.001, weight_decay=0.0001),
    clip_grad=dict(max_norm=1.0),
)
