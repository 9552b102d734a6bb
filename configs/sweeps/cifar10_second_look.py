# The methods that end below the plain student in cifar10_methods.py, once more
# with one thing changed (seed 0).
#
# First the weight: to one digit, where the loss's first gradient in the
# student's backbone is as long as that of cross entropy of weight 1:
#   python -m luminet_mm.analysis.gradients \
#       configs/sweeps/cifar10_second_look.py --steps 2
# Then, for those that this leaves below the student and for SimKD, which has
# no cross entropy, ten epochs instead of two: the schedule of cifar10.py. Last
# VkD on features that can be negative, as those of a transformer are, and MLLD
# without its Gram matrices, which are larger for 10 classes than for 100.
_base_ = 'cifar10_methods.py'
weights = dict(
    luminet=6.0,
    dkd=0.5,
    dist=0.01,
    lskd=2.0,
    nkd=0.3,
    wsld=1.0,
    mlld=0.2,
    uskd=1.0,
    fsp=0.3,
    ab=0.05,
    semckd=3.0,
    vkd=7.0,
    crd=0.5,
    mgd=0.002,
)
runs = dict(
    _delete_=True,
    **{
        name: dict(
            config=_base_.runs[name].config,
            seeds=[0],
            options={
                **_base_.runs[name].options,
                'model.head.loss.loss_weight': 1.0,
                f'model.distill.loss_{name}': dict(
                    _base_.losses[name], loss_weight=weight
                ),
            },
        )
        for name, weight in weights.items()
    },
    **{
        f'{name}_long': dict(
            config=_base_.runs[name].config,
            seeds=[0],
            options={
                'train_cfg.val_interval': 10,
                'model.head.loss.loss_weight': _base_.ce.get(name, 1.0),
                f'model.distill.loss_{name}': _base_.losses[name],
                f'custom_hooks.1.loss_{name}': dict(warmup=66),
            },
        )
        for name in ('simkd', 'mlld', 'uskd', 'ab', 'mgd', 'vkd')
    },
    vkd_preact=dict(
        config=_base_.runs.vkd.config,
        seeds=[0],
        options={
            **_base_.runs.vkd.options,
            'model.distill.loss_vkd': dict(
                _base_.losses.vkd, signal='backbone.layer3.preact'
            ),
        },
    ),
    mlld_rows=dict(
        config=_base_.runs.mlld.config,
        seeds=[0],
        options={
            **_base_.runs.mlld.options,
            'model.distill.loss_mlld': dict(
                _base_.losses.mlld, batch_weight=0.0, class_weight=0.0
            ),
        },
    ),
)
