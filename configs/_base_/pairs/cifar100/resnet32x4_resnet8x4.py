# ResNet-32x4 (79.42) teaches ResNet-8x4: everything but the loss.
_base_ = '../../../cifar100/resnet8x4_cifar100.py'
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=dict(
        config='configs/cifar100/resnet32x4_cifar100.py',
        checkpoint='checkpoints/cifar100/resnet32x4.pth',
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
        min_metric=77.0,
    )
]
