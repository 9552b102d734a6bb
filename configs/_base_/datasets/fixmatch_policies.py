# FixMatch's operations, as MLLD's release has them (5ee473f): for RandAugment
# with magnitude_level=10 and magnitude_std='inf', which draws from the range.
fixmatch_policies = [
    dict(type='AutoContrast', prob=1.0),
    dict(type='Equalize', prob=1.0),
    dict(type='Equalize', prob=0.0),  # one of the 14 changes nothing
    # 0.05 to 0.95 of the image, the rest grey or black
    dict(
        type='Brightness',
        magnitude_range=(-0.95, -0.05),
        prob=1.0,
        random_negative_prob=0.0,
    ),
    dict(
        type='ColorTransform',
        magnitude_range=(-0.95, -0.05),
        prob=1.0,
        random_negative_prob=0.0,
    ),
    dict(
        type='Contrast',
        magnitude_range=(-0.95, -0.05),
        prob=1.0,
        random_negative_prob=0.0,
    ),
    dict(
        type='Sharpness',
        magnitude_range=(-0.95, -0.05),
        prob=1.0,
        random_negative_prob=0.0,
    ),
    dict(type='Posterize', magnitude_range=(3, 7), prob=1.0),  # rounded up
    dict(type='Solarize', magnitude_range=(0, 256), prob=1.0),
    # of either sign
    dict(type='Rotate', magnitude_range=(0, 30), prob=1.0),
    dict(
        type='Shear',
        magnitude_range=(0, 0.3),
        prob=1.0,
        direction='horizontal',
    ),
    dict(
        type='Shear', magnitude_range=(0, 0.3), prob=1.0, direction='vertical'
    ),
    dict(
        type='Translate',
        magnitude_range=(0, 0.3),
        prob=1.0,
        direction='horizontal',
    ),
    dict(
        type='Translate',
        magnitude_range=(0, 0.3),
        prob=1.0,
        direction='vertical',
    ),
]
