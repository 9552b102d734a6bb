# Digits in scenes with five classes, two digits each.
_base_ = 'digits_one_class.py'
classes = ('0-1', '2-3', '4-5', '6-7', '8-9')
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
