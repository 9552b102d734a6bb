# DeiT-S's width in 3 heads: 21.4 million parameters (21.3 of them in the
# encoder's blocks).
_base_ = 'vit-128.py'
model = dict(
    backbone=dict(
        arch=dict(embed_dims=384, num_heads=3, feedforward_channels=1536)
    ),
    head=dict(in_channels=384),
)
