# What a student loses by a teacher's logits in few bytes: KD, DIST and LumiNet
# on int8 rows against float32, and KD at temperature 1 on the three most
# likely of ten classes against all of them. The settings of cifar10_logits.py
# but in float32, for any processor. Five seeds. First write the logits:
#   C=configs/cifar10/kd_cached_resnet56_resnet20_cifar10-tenth.py
#   python tools/cache_teacher.py $C
#   for form in int8 top3; do
#       python tools/cache_teacher.py $C --dtype $form \
#           --out work_dirs/resnet56_cifar10-third/$form
#   done
_base_ = 'cifar10_logits.py'
groups = {}
for name in ('kd', 'dist', 'luminet'):
    groups[name] = groups[f'{name}_int8'] = _base_.runs[name]
groups['kd_tau1'] = groups['kd_tau1_top3'] = dict(
    _base_.runs.kd,
    options={**_base_.runs.kd.options, 'model.distill.loss_kd.tau': 1.0},
)
runs = dict(_delete_=True)
for name, group in groups.items():
    options = {**group['options'], 'optim_wrapper.type': 'OptimWrapper'}
    form = name.rpartition('_')[2]
    if form in ('int8', 'top3'):
        cache = f'work_dirs/resnet56_cifar10-third/{form}'
        options['model.teacher.cache'] = cache
    runs[name] = dict(group, options=options)
