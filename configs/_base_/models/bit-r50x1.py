# BiT-R50x1 of timm: ResNet-50 with group norm and standardised weights.
model = dict(
    type='ImageClassifier',
    backbone=dict(type='TIMMBackbone', model_name='resnetv2_50x1_bit'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=2048,
        loss=dict(type='CrossEntropyLoss', use_soft=True),
    ),
    # every batch is mixed
    train_cfg=dict(augments=dict(type='Mixup', alpha=1.0)),
)
