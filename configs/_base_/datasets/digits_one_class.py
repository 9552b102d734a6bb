# Digits in scenes with one class, 'digit', on the boxes of all ten.
metainfo = dict(classes=('0-9',))
_base_ = 'digits_detection.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='CocoDataset',
        metainfo=metainfo,
        data_root='data/digits/',
        ann_file='annotations/train_one.json',
        data_prefix=dict(img=''),
        pipeline=_base_.train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='CocoDataset',
        metainfo=metainfo,
        data_root='data/digits/',
        ann_file='annotations/val_one.json',
        data_prefix=dict(img=''),
        test_mode=True,
        pipeline=_base_.train_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='data/digits/annotations/val_one.json')
test_evaluator = val_evaluator
