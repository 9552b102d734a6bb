# RegNetY-160 (84 M parameters), a teacher. timm's and DeiT's checkpoints fit.
model = dict(
    type='mmpretrain.TimmClassifier',
    model_name='regnety_160',
    data_preprocessor=dict(
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
)
