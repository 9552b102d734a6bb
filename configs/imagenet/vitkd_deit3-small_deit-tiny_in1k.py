"""ViTKD and NKD: DeiT III-S teaches DeiT-Ti on ImageNet-1k.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (83.06, MMPretrain's zoo), which was trained
         on ImageNet-21k first.
Run      tools/dist_train.sh \
         configs/imagenet/vitkd_deit3-small_deit-tiny_in1k.py 8
Paper    77.78 (ViTKD's repository); ViTKD without NKD 76.06; student alone
         74.42. Not run here yet.
Derived  the teacher's images: its own test crops are made otherwise, so the
         check of the teacher may show less than 83.06. Weights, masks and NKD
         are the authors'.
"""

_base_ = 'mmpretrain::deit/deit-tiny_4xb256_in1k.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=dict(
        config='configs/_base_/models/deit3-small.py',
        checkpoint=(
            'https://mmassets.onedl.ai/mmclassification/v0/deit3/'
            'deit3-small-p16_in21k-pre_3rdparty_in1k_20221009-dcd90827.pth'
        ),
    ),
    distill=dict(
        loss_vitkd=dict(
            type='luminet_mm.ViTKDLoss',
            # raw tokens of the first two blocks, normed ones of the last
            signal=['backbone.layers.0', 'backbone.layers.1', 'backbone.ln1'],
            alpha=3e-5,
            beta=3e-6,
            mask_ratio=0.5,
        ),
        loss_nkd=dict(
            type='luminet_mm.NKDLoss',
            signal='logits',
            tau=1.0,
            gamma=1.0,
            mixed_labels='largest',
        ),
    ),
)
# 8 GPUs x 128 images, the 1024 of the base
train_dataloader = dict(batch_size=128, persistent_workers=True)
val_dataloader = dict(batch_size=128, persistent_workers=True)
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=False)  # without --auto-scale-lr
default_hooks = dict(
    checkpoint=dict(interval=5, max_keep_ckpts=2, save_best='accuracy/top1'),
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook'),
)
# Scores the teacher on val and stops a run whose teacher does not work.
custom_hooks = [
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='accuracy/top1',
        min_metric=82.0,
    )
]
