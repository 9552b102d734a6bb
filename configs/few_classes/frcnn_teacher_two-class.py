"""The teacher of the runs with two classes: as that of one class.

Needs    the boxes as for configs/few_classes/frcnn_student_two-class.py.
Run      python tools/train.py configs/few_classes/frcnn_teacher_two-class.py
"""

_base_ = [
    '../_base_/models/frcnn_slim_fpn_wide.py',
    '../_base_/datasets/digits_two_class.py',
    '../_base_/schedules/short_finetune.py',
    '../_base_/digits_runtime.py',
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=2)))
load_from = 'weights/digits_teacher.pth'
