# The blood cell teacher and student: everything but the loss.
_base_ = '../../frcnn_student_bccd.py'
model = dict(
    type='luminet_mm.TwoStageDistiller',
    teacher=dict(
        config='configs/frcnn_teacher_bccd.py',
        checkpoint='work_dirs/frcnn_teacher_bccd/epoch_24.pth',
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
custom_hooks = [dict(type='luminet_mm.TeacherCheckHook', evaluate=False)]
