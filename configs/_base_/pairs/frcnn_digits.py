# The digits teacher and student: everything but the loss.
_base_ = '../../frcnn_student_digits.py'
model = dict(
    type='luminet_mm.TwoStageDistiller',
    teacher=dict(
        config='configs/frcnn_teacher_digits.py',
        checkpoint='weights/digits_teacher.pth',
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
custom_hooks = [dict(type='luminet_mm.TeacherCheckHook', evaluate=False)]
