# A small vision transformer: 65 tokens of 128 in 2 heads, 2.4 million
# parameters (2.38 of them in the encoder's blocks).
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='VisionTransformer',
        arch=dict(
            embed_dims=128,
            num_layers=12,
            num_heads=2,
            feedforward_channels=512,
        ),
        img_size=32,
        patch_size=4,
    ),
    head=dict(
        type='VisionTransformerClsHead',
        num_classes=100,
        in_channels=128,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5),
        # DeiT's; zeros, the default, would be logits without any variance
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
)
