"""The student alone on blood cells (BCCD) of one class.

Needs    BCCD as for configs/frcnn_student_bccd.py, and its boxes as one
         class; for split in train and val
         python -m luminet_mm.analysis.few_classes
         data/bccd/annotations/train.json data/bccd/annotations/train_one.json
Run      python tools/train.py
         configs/few_classes/frcnn_student_one-class_bccd.py
"""

_base_ = '../frcnn_student_bccd.py'
classes = ('RBC-Platelets',)
model = dict(roi_head=dict(bbox_head=dict(num_classes=1)))
train_dataloader = dict(
    dataset=dict(
        metainfo=dict(classes=classes),
        ann_file='annotations/train_one.json',
    )
)
val_dataloader = dict(
    dataset=dict(
        metainfo=dict(classes=classes),
        ann_file='annotations/val_one.json',
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='data/bccd/annotations/val_one.json')
test_evaluator = val_evaluator
