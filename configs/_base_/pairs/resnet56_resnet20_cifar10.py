# ResNet-56 teaches ResNet-20 on a tenth of CIFAR-10: everything but the loss.
_base_ = '../../cifar10/resnet20_cifar10-tenth.py'
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=dict(
        config='configs/cifar10/resnet56_cifar10-third.py',
        checkpoint='weights/cifar10_teacher.pth',
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
custom_hooks = [dict(type='luminet_mm.TeacherCheckHook', evaluate=False)]
