# The teacher and student of handwritten digits: everything but the loss.
_base_ = '../../handwritten/resnet_student_handwritten.py'
model = dict(
    type='luminet_mm.ClassifierDistiller',
    teacher=dict(
        config='configs/handwritten/resnet_teacher_handwritten.py',
        checkpoint='work_dirs/resnet_teacher_handwritten/epoch_30.pth',
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
custom_hooks = [dict(type='luminet_mm.TeacherCheckHook', evaluate=False)]
