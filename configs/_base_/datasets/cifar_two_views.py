# A weak view of each image (crop, flip) and a strong one (RandAugment and
# Cutout as well), drawn separately.
_base_ = 'fixmatch_policies.py'
two_view_pipeline = [
    dict(
        type='MultiView',
        num_views=[1, 1],
        transforms=[
            [
                dict(type='RandomCrop', crop_size=32, padding=4),
                dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            ],
            [
                dict(type='RandomCrop', crop_size=32, padding=4),
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
                    magnitude_range=(1, 17),  # rounded down: half of the side
                    magnitude_level=10,
                    magnitude_std='inf',
                    pad_val=(125, 123, 114),
                    prob=1.0,
                ),
            ],
        ],
    ),
    dict(type='PackInputs'),
]
