# The digits' Faster R-CNN teaches RetinaNet, on features: all but the loss.
_base_ = '../../one_stage/retinanet_student_digits.py'
model = dict(
    type='luminet_mm.OneStageDistiller',
    teacher=dict(
        config='configs/frcnn_teacher_digits.py',
        checkpoint='weights/digits_teacher.pth',
    ),
)
default_hooks = dict(
    distill_monitor=dict(type='luminet_mm.DistillMonitorHook')
)
custom_hooks = [dict(type='luminet_mm.TeacherCheckHook', evaluate=False)]
