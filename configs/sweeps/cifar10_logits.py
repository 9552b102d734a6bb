# Every method on logits on equal terms: a tenth of CIFAR-10, ResNet-56 and
# ResNet-20, ten epochs. One rule for all: cross entropy has weight 1, the
# method loss_weight='auto' with its default share, and 66 of the 780 steps are
# warm-up; options are the papers'. Five seeds. `..._published` has the
# published weights, and the same warm-up; two seeds.
#
# Left out is USKD, which has no teacher. DIST+ and SDD, which compare maps
# too, run the teacher; the others have its logits from disk, for ten views of
# each image, the same for all seeds.
#
# bf16 autocast on a CPU, losses in float32. First write the teacher's logits:
#   python tools/cache_teacher.py \
#       configs/cifar10/kd_cached_resnet56_resnet20_cifar10-tenth.py
_base_ = 'cifar10_methods.py'
schedule = {
    # only the last epoch counts
    'train_cfg.val_interval': 10,
    'default_hooks.checkpoint.interval': 10,
    'optim_wrapper.type': 'luminet_mm.CPUAmpOptimWrapper',
}
live = ('dist_plus', 'sdd')
named = {
    name: loss
    for name, loss in _base_.losses.items()
    if loss.get('signal') == 'logits' or name in live
}


def run(name, seeds, weight, ce):
    teacher = 'methods' if name in live else 'cached'
    return dict(
        config=f'configs/_base_/pairs/resnet56_resnet20_cifar10_{teacher}.py',
        seeds=seeds,
        options={
            **schedule,
            'model.head.loss.loss_weight': ce,
            f'model.distill.loss_{name}': dict(
                named[name], loss_weight=weight
            ),
            f'custom_hooks.1.loss_{name}': dict(warmup=66),
        },
    )


runs = dict(
    _delete_=True,
    student=dict(
        config='configs/cifar10/resnet20_cifar10-tenth.py',
        seeds=[0, 1, 2, 3, 4],
        options=schedule,
    ),
    **{name: run(name, [0, 1, 2, 3, 4], 'auto', 1.0) for name in named},
    **{
        f'{name}_published': run(
            name, [0, 1], loss.loss_weight, _base_.ce.get(name, 1.0)
        )
        for name, loss in named.items()
    },
)
