"""A step keeps the student's own losses apart from the others."""

import tiny

from luminet_mm.distillers.watch import Watch


def test_own_losses_stay_as_they_were():
    model = tiny.build(
        tiny.distiller(
            loss_kd=dict(
                type='luminet_mm.KDLoss',
                signal='roi.cls_score',
                loss_weight='auto',
            )
        )
    )
    steps = []

    class Spy(Watch):
        def look(self, model, step, norms):
            steps.append(step)

    model.watch = Spy()
    model.watch.due = True
    data = tiny.prepared(model)
    losses = model.loss(data['inputs'], data['data_samples'])
    (step,) = steps
    assert step.losses is losses
    assert set(losses) - set(step.own) == {'loss_kd', 'weight_kd'}
    assert [each.key for each in step.active] == ['loss_kd']
    (student,), (teacher,) = step.students, step.teachers
    assert student.shape == teacher.shape and student.requires_grad
