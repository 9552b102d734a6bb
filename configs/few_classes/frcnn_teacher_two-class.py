"""The teacher of the runs with two classes: as that of one class.

Needs    the boxes as for configs/few_classes/frcnn_student_two-class.py.
Run      python tools/train.py configs/few_classes/frcnn_teacher_two-class.py
"""

_base_ = 'frcnn_teacher_one-class.py'
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
