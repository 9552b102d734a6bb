"""VkD: RegNetY-160 teaches DeiT-Ti with a convolutional stem on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md), and timm: pip
         install timm. Downloaded on first use: the teacher (82.6, DeiT's
         authors').
Run      tools/dist_train.sh \
         configs/imagenet/vkd_regnety-160_deit-tiny-conv_in1k.py 8
Paper    78.3, and 79.2 in another run (VkD's repository). Not run here yet.
Derived  nothing of the loss and the recipe. The authors train in mixed
         precision, as with --amp, and on one or two GPUs: the batch of 512 is
         theirs.
"""

_base_ = '../_base_/pairs/imagenet/regnety-160_deit-tiny-conv.py'
model = dict(
    distill=dict(
        loss_vkd=dict(
            type='luminet_mm.VkDLoss',
            student='backbone.ln1',
            teacher='model.s4',
            extra_tokens=2,
            loss_weight=1.0,
        )
    )
)
# One of three strong changes to an image, replacing RandAugment and erasing.
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(
                type='RandomResizedCrop',
                scale=224,
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(
                type='RandomChoice',
                transforms=[
                    [
                        dict(
                            type='RandomGrayscale',
                            prob=1.0,
                            keep_channels=True,
                            channel_weights=(0.114, 0.587, 0.299),
                        )
                    ],
                    [dict(type='Solarize', thr=128, prob=1.0)],
                    [
                        dict(
                            type='GaussianBlur',
                            magnitude_range=(0.1, 2.0),
                            magnitude_std='inf',
                            prob=1.0,
                        )
                    ],
                ],
            ),
            dict(
                type='ColorJitter',
                brightness=0.3,
                contrast=0.3,
                saturation=0.3,
            ),
            dict(type='PackInputs'),
        ]
    )
)
# No warm-up and no gradient clipping.
optim_wrapper = dict(clip_grad=None)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=5e-6, by_epoch=True)]
