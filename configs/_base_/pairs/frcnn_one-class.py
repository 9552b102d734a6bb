# Digits as one class, teacher and student: everything but the loss.
_base_ = '../../few_classes/frcnn_student_one-class.py'
model = dict(
    type='luminet_mm.TwoStageDistiller',
    teacher=dict(
        config='configs/few_classes/frcnn_teacher_one-class.py',
        checkpoint='work_dirs/frcnn_teacher_one-class/epoch_2.pth',
    ),
    distill=dict(),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
custom_hooks = [
    dict(type='luminet_mm.TeacherCheckHook', evaluate=False),
    dict(type='luminet_mm.DistillScheduleHook'),
]
