# The GFL teacher and student of the digits: everything but the loss.
_base_ = '../../one_stage/gfl_student_digits.py'
model = dict(
    type='luminet_mm.OneStageDistiller',
    teacher=dict(
        config='configs/one_stage/gfl_teacher_digits.py',
        checkpoint='weights/digits_gfl_teacher.pth',
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
custom_hooks = [dict(type='luminet_mm.TeacherCheckHook', evaluate=False)]
