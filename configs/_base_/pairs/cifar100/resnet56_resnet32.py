# ResNet-56 (72.34) teaches ResNet-32, the assistant of a chain: everything but
# the loss.
_base_ = '../../../cifar100/resnet32_cifar100.py'
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=dict(
        config='configs/cifar100/resnet56_cifar100.py',
        checkpoint='checkpoints/cifar100/resnet56.pth',
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
