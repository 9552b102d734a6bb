"""A GFL student alone on digits in scenes: the baseline.

Needs    nothing; the data are made on first use.
Run      python tools/train.py configs/one_stage/gfl_student_digits.py
"""

_base_ = [
    '../_base_/models/gfl_slim_fpn.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/short_6e.py',
    '../_base_/digits_runtime.py',
]
