# Digits in scenes with two classes, 0-4 and 5-9.
_base_ = 'digits_one_class.py'
classes = ('0-4', '5-9')
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
