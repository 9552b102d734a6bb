# RegNetY-160 (82.6, DeiT's authors') teaches DeiT-Ti with a convolutional
# stem: all but the loss on features.
_base_ = [
    '../../models/deit-tiny-conv.py',
    'mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py',
    '../../schedules/imagenet_coadvise_300e.py',
]
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=dict(
        config='configs/_base_/models/regnety-160_timm.py',
        # timm's own, newer weights are different
        checkpoint=(
            'https://dl.fbaipublicfiles.com/deit/regnety_160-a5fe301d.pth'
        ),
    ),
    distill=dict(
        loss_kd=dict(
            type='luminet_mm.KDLoss',
            student='head.layers.head_dist',
            teacher='logits',
            tau=1.0,
            loss_weight=1.0,
        )
    ),
)
# 8 GPUs x 64 images
train_dataloader = dict(batch_size=64, persistent_workers=True)
val_dataloader = dict(persistent_workers=True)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=0.0005))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-3,
        by_epoch=True,
        end=20,
        convert_to_iter_based=True,
    ),
    dict(type='CosineAnnealingLR', eta_min=5e-6, by_epoch=True, begin=20),
]
auto_scale_lr = dict(base_batch_size=512)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
# Scores the teacher on val and stops a run whose teacher does not work.
custom_hooks = [
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='accuracy/top1',
        min_metric=82.0,
    )
]
