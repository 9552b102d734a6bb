# ResNet-34 (73.62, MMPretrain's) teaches ResNet-18: everything but the loss.
_base_ = '../../../imagenet/resnet18_in1k.py'
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=dict(
        config='mmpretrain::resnet/resnet34_8xb32_in1k.py',
        checkpoint=(
            'https://mmassets.onedl.ai/mmclassification/v0/resnet/'
            'resnet34_8xb32_in1k_20210831-f257d4e6.pth'
        ),
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
# Scores the teacher on val and stops a run whose teacher does not work.
custom_hooks = [
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='accuracy/top1',
        min_metric=73.0,
    )
]
