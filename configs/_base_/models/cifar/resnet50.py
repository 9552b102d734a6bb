# ResNet-50 with a stem for small images: 23.7 million parameters.
_base_ = 'classifier.py'
model = dict(
    backbone=dict(
        type='mmpretrain.ResNet_CIFAR',
        depth=50,
        zero_init_residual=False,  # as in the papers' code
    ),
    head=dict(in_channels=2048),
)
