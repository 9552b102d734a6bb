# CIFAR-100 in data/cifar100, as in the KD papers: 64 images, crops and flips.
data_preprocessor = dict(
    num_classes=100,
    mean=[255 * 0.5071, 255 * 0.4867, 255 * 0.4408],
    std=[255 * 0.2675, 255 * 0.2565, 255 * 0.2761],
    to_rgb=False,  # the images are RGB
)
train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CIFAR100',
        data_root='data/cifar100',
        split='train',
        download=False,
        pipeline=train_pipeline,
    ),
)
# CIFAR-100 has no validation split: the papers select on the test split, and
# so a best epoch flatters. Report the last one as well.
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CIFAR100',
        data_root='data/cifar100',
        split='test',
        download=False,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
