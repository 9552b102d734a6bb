# DeiT-Ti with a convolutional stem, whose mean is the distillation token (6.63
# M parameters with both classifiers).
_base_ = './deit-tiny_distilled.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='luminet_mm.ConvStemViT',
        arch='deit-tiny',
        img_size=224,
        patch_size=16,
        # Co-advise's and its successors' 0.1 does not reach their models.
        drop_path_rate=0.0,
    ),
    head=dict(init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02)),
)
