"""The student alone on digits in scenes as one class: are they there, where?

Needs    the digits, and their boxes as one class; for split in train and val
         python -m luminet_mm.analysis.few_classes
         data/digits/annotations/train.json
         data/digits/annotations/train_one.json
Run      python tools/train.py configs/few_classes/frcnn_student_one-class.py
"""

_base_ = [
    '../_base_/models/frcnn_slim_fpn.py',
    '../_base_/datasets/digits_one_class.py',
    '../_base_/schedules/short.py',
    '../_base_/digits_runtime.py',
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=1)))
