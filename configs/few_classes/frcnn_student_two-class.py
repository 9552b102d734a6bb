"""The student alone on digits in scenes as two classes, 0-4 and 5-9.

Needs    the digits, and their boxes as two classes; for split in train and
         val  python -m luminet_mm.analysis.few_classes --classes 2
         data/digits/annotations/train.json
         data/digits/annotations/train_two.json
Run      python tools/train.py configs/few_classes/frcnn_student_two-class.py
"""

_base_ = [
    '../_base_/models/frcnn_slim_fpn.py',
    '../_base_/datasets/digits_two_class.py',
    '../_base_/schedules/short.py',
    '../_base_/digits_runtime.py',
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=2)))
