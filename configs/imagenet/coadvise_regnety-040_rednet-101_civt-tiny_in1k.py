"""Co-advise: RegNetY-040 and RedNet-101 teach CivT-Ti on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md), timm: pip install
         timm, and checkpoints/imagenet/rednet-101.pth (docs/transformers.md).
         Downloaded on first use: RegNetY-040 (timm's).
Run      tools/dist_train.sh \
         configs/imagenet/coadvise_regnety-040_rednet-101_civt-tiny_in1k.py 8
Paper    74.9 (the projector paper, Table 1). Not run here yet.
Derived  the teachers' weights: timm's and the involution authors'. Co-advise's
         own were given apart from its code. The rest is its code's.
"""

_base_ = [
    '../_base_/models/civt-tiny.py',
    'mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py',
    '../_base_/schedules/imagenet_coadvise_300e.py',
]
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=[
        dict(
            config='configs/_base_/models/regnety-040_timm.py',
            checkpoint=(
                'https://github.com/huggingface/pytorch-image-models/releases/'
                'download/v0.1-tpu-weights/regnety_040_ra3-670e1166.pth'
            ),
        ),
        dict(
            config='configs/_base_/models/rednet-101.py',
            checkpoint='checkpoints/imagenet/rednet-101.pth',
        ),
    ],
    distill=dict(
        loss_conv=dict(
            type='luminet_mm.KDLoss',
            student='head.layers.head_dist',
            teacher='logits',
            teachers=[0],
            tau=1.0,
            loss_weight=1.0,
        ),
        loss_inv=dict(
            type='luminet_mm.KDLoss',
            student='head.layers.head_dist2',
            teacher='logits',
            teachers=[1],
            tau=1.0,
            loss_weight=1.0,
        ),
    ),
)
# 8 GPUs x 128 images
train_dataloader = dict(batch_size=128, persistent_workers=True)
val_dataloader = dict(batch_size=128, persistent_workers=True)
test_dataloader = val_dataloader
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
# A bound for the weaker of the two: RedNet-101 was published with 78.92.
custom_hooks = [
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='accuracy/top1',
        min_metric=78.0,
    )
]
