# A weak view of each image (crop, flip) and a strong one (RandAugment and
# Cutout as well), drawn separately.
_base_ = 'fixmatch_policies.py'
two_view_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiView',
        num_views=[1, 1],
        transforms=[
            [
                dict(type='RandomResizedCrop', scale=224),
                dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            ],
            [
                dict(type='RandomResizedCrop', scale=224),
                dict(type='RandomFlip', prob=0.5, direction='horizontal'),
                dict(
                    type='RandAugment',
                    policies=_base_.fixmatch_policies,
                    num_policies=2,
                    magnitude_level=10,
                    magnitude_std='inf',
                    hparams=dict(pad_val=0, interpolation='nearest'),
                ),
                dict(
                    type='Cutout',
                    magnitude_range=(1, 113),  # rounded down: half the side
                    magnitude_level=10,
                    magnitude_std='inf',
                    pad_val=(114, 123, 125),  # images are read as BGR
                    prob=1.0,
                ),
            ],
        ],
    ),
    dict(type='PackInputs'),
]
