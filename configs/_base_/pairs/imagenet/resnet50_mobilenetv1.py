# ResNet-50 (76.55, MMPretrain's) teaches MobileNetV1: all but the loss.
_base_ = '../../../imagenet/mobilenetv1_in1k.py'
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=dict(
        config='mmpretrain::resnet/resnet50_8xb32_in1k.py',
        checkpoint=(
            'https://mmassets.onedl.ai/mmclassification/v0/resnet/'
            'resnet50_8xb32_in1k_20210831-ea4938fc.pth'
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
        min_metric=76.0,
    )
]
