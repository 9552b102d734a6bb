# A transformer of width 384 (76.30) teaches one of 128: all but the loss.
_base_ = '../../../cifar100/vit-128_cifar100.py'
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=dict(
        config='configs/cifar100/vit-384_cifar100.py',
        checkpoint='checkpoints/cifar100/vit-384.pth',
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
# Scores the teacher on the test split and stops a run whose teacher fails.
custom_hooks = [
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='accuracy/top1',
        min_metric=70.0,
    )
]
