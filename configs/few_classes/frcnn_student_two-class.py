"""The student alone on digits in scenes as two classes, 0-4 and 5-9.

Needs    the digits, and their boxes as two classes; for split in train and
         val  python -m luminet_mm.analysis.few_classes --classes 2
         data/digits/annotations/train.json
         data/digits/annotations/train_two.json
Run      python tools/train.py configs/few_classes/frcnn_student_two-class.py
"""

_base_ = 'frcnn_student_one-class.py'
classes = ('0-4', '5-9')
model = dict(roi_head=dict(bbox_head=dict(num_classes=2)))
train_dataloader = dict(
    dataset=dict(
        metainfo=dict(classes=classes),
        ann_file='annotations/train_two.json',
    )
)
val_dataloader = dict(
    dataset=dict(
        metainfo=dict(classes=classes),
        ann_file='annotations/val_two.json',
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='data/digits/annotations/val_two.json')
test_evaluator = val_evaluator
