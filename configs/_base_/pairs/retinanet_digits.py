# The RetinaNet teacher and student of the digits: everything but the loss.
_base_ = '../../one_stage/retinanet_student_digits.py'
model = dict(
    type='luminet_mm.OneStageDistiller',
    teacher=dict(
        config='configs/one_stage/retinanet_teacher_digits.py',
        checkpoint='work_dirs/retinanet_teacher_digits/epoch_6.pth',
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
custom_hooks = [dict(type='luminet_mm.TeacherCheckHook', evaluate=False)]
