# Tiny-ImageNet in data/tiny-imagenet-200, shrunk to the 32 pixels and with
# the statistics of CIFAR-100: a backbone of that data set sees what it knows.
data_preprocessor = dict(
    num_classes=200,
    mean=[255 * 0.5071, 255 * 0.4867, 255 * 0.4408],
    std=[255 * 0.2675, 255 * 0.2565, 255 * 0.2761],
    to_rgb=True,  # the images are read as BGR
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=32),
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=32),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CustomDataset',
        data_root='data/tiny-imagenet-200',
        data_prefix='train',
        pipeline=train_pipeline,
    ),
)
# The images of the test split have no labels: val is what papers report.
val_dataloader = dict(
    batch_size=256,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomDataset',
        data_root='data/tiny-imagenet-200',
        data_prefix='val',
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
