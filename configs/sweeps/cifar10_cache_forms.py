# What a student loses by a teacher's logits in few bytes, in the setting of
# cifar10_logits.py: KD, DIST and LumiNet on int8 rows against its rows on
# float32, and KD at temperature 1 on the three most likely of ten classes
# against all of them. Five seeds. Write the logits first:
#   C=configs/cifar10/kd_cached_resnet56_resnet20_cifar10-tenth.py
#   python tools/cache_teacher.py $C
#   for form in int8 top3; do
#       python tools/cache_teacher.py $C --dtype $form \
#           --out work_dirs/resnet56_cifar10-third/$form
#   done
_base_ = 'cifar10_logits.py'
forms = 'work_dirs/resnet56_cifar10-third'
soft = {'model.distill.loss_kd.tau': 1.0}


def changed(name, options):
    group = _base_.runs[name]
    return dict(
        config=group.config,
        seeds=group.seeds,
        options={**group.options, **options},
    )


runs = dict(
    _delete_=True,
    **{
        f'{name}_int8': changed(name, {'model.teacher.cache': f'{forms}/int8'})
        for name in ('kd', 'dist', 'luminet')
    },
    kd_tau1=changed('kd', soft),
    kd_tau1_top3=changed(
        'kd', {**soft, 'model.teacher.cache': f'{forms}/top3'}
    ),
)
