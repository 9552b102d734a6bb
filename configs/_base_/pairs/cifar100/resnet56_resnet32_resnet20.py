# ResNet-32, taught by ResNet-56, teaches ResNet-20: everything but the loss.
_base_ = '../../../cifar100/resnet20_cifar100.py'
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=dict(
        config='configs/cifar100/kd_resnet56_resnet32_cifar100.py',
        checkpoint='work_dirs/kd_resnet56_resnet32_cifar100/epoch_240.pth',
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
# Scores the teacher on the test split and stops a run whose teacher fails. An
# assistant without distillation has 71.14 in the papers.
custom_hooks = [
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='accuracy/top1',
        min_metric=69.0,
    )
]
