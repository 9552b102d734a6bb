# One strong view per image: crop, flip, AutoAugment's policy for CIFAR.
autoaugment_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='luminet_mm.CIFARAutoAugment'),
    dict(type='PackInputs'),
]
