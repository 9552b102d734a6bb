# VGG-13 (74.64) teaches VGG-8: everything but the loss.
_base_ = '../../../cifar100/vgg8_cifar100.py'
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=dict(
        config='configs/cifar100/vgg13_cifar100.py',
        checkpoint='checkpoints/cifar100/vgg13.pth',
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
        min_metric=72.0,
    )
]
