"""The student alone on digits in scenes as five classes, two digits each.

Needs    the digits, and their boxes as five classes; for split in train and
         val  python -m luminet_mm.analysis.few_classes --classes 5
         data/digits/annotations/train.json
         data/digits/annotations/train_five.json
Run      python tools/train.py configs/few_classes/frcnn_student_five-class.py
"""

_base_ = [
    '../_base_/models/frcnn_slim_fpn.py',
    '../_base_/datasets/digits_five_class.py',
    '../_base_/schedules/short.py',
    '../_base_/digits_runtime.py',
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=5)))
