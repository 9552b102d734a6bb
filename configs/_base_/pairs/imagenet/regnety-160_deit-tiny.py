# RegNetY-160 (82.6, DeiT's authors') teaches DeiT-Ti: all but the loss.
_base_ = [
    '../../models/deit-tiny_distilled.py',
    '../../datasets/imagenet_deit.py',
    '../../schedules/imagenet_deit_300e.py',
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
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
custom_hooks = [
    *_base_.custom_hooks,
    # Scores the teacher on val and stops a run whose teacher does not work.
    dict(
        type='luminet_mm.TeacherCheckHook',
        metric='accuracy/top1',
        min_metric=82.0,
    ),
]
