# Digits in scenes: made on first use from pixels that pip packages ship.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    # every image is used at its own size; Resize only notes the scale
    dict(type='Resize', scale_factor=1.0),
    dict(type='PackDetInputs'),
]
# no flips: a mirrored digit is a different digit or not a digit
train_dataloader = dict(
    batch_size=8,
    num_workers=0,  # decoding takes a millisecond; workers would cost more
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='luminet_mm.DigitsDataset', split='train', pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='luminet_mm.DigitsDataset',
        split='val',
        test_mode=True,
        pipeline=train_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='FasterCocoMetric',
    ann_file='data/digits/annotations/val.json',
    metric='bbox',
)
test_evaluator = val_evaluator
