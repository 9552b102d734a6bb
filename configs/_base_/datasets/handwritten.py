# scikit-learn's handwritten digits, 8x8 pixels: 1,415 / 382 images.
data_preprocessor = dict(
    num_classes=10, mean=[75.0, 75.0, 75.0], std=[90.0, 90.0, 90.0]
)
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='luminet_mm.HandwrittenDigits',
        split='train',
        pipeline=[
            # no flips: a mirrored digit is a different digit or not a digit
            dict(type='RandomCrop', crop_size=8, padding=1),
            dict(type='PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='luminet_mm.HandwrittenDigits',
        split='val',
        pipeline=[dict(type='PackInputs')],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=1)
test_evaluator = val_evaluator
