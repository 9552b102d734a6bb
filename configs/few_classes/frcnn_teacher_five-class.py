"""The teacher of the runs with five classes: as that of one class.

Needs    the boxes as for configs/few_classes/frcnn_student_five-class.py.
Run      python tools/train.py configs/few_classes/frcnn_teacher_five-class.py
"""

_base_ = 'frcnn_teacher_one-class.py'
classes = ('0-1', '2-3', '4-5', '6-7', '8-9')
model = dict(roi_head=dict(bbox_head=dict(num_classes=5)))
train_dataloader = dict(
    dataset=dict(
        metainfo=dict(classes=classes),
        ann_file='annotations/train_five.json',
    )
)
val_dataloader = dict(
    dataset=dict(
        metainfo=dict(classes=classes),
        ann_file='annotations/val_five.json',
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='data/digits/annotations/val_five.json')
test_evaluator = val_evaluator
