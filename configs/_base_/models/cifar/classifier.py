# The shared part of the CIFAR networks: pooling and a linear classifier.
model = dict(
    type='ImageClassifier',
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=100,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
        # PyTorch's own, as in the papers' code; the default is smaller
        init_cfg=None,
    ),
)
