"""The teacher of the one-class runs: the digits' teacher, two epochs more.

Its last layer, of one class, starts anew.

Needs    the boxes as for configs/few_classes/frcnn_student_one-class.py.
Run      python tools/train.py configs/few_classes/frcnn_teacher_one-class.py
"""

_base_ = [
    '../_base_/models/frcnn_slim_fpn_wide.py',
    '../_base_/datasets/digits_one_class.py',
    '../_base_/schedules/short_finetune.py',
    '../_base_/digits_runtime.py',
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=1)))
load_from = 'weights/digits_teacher.pth'
