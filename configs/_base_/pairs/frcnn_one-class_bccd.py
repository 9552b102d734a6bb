# Blood cells as one class, teacher and student: everything but the loss.
_base_ = '../../few_classes/frcnn_student_one-class_bccd.py'
model = dict(
    type='luminet_mm.TwoStageDistiller',
    teacher=dict(
        config='configs/few_classes/frcnn_teacher_one-class_bccd.py',
        checkpoint='work_dirs/frcnn_teacher_one-class_bccd/epoch_4.pth',
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
