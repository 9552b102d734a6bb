# The methods that end below the plain student in cifar10_methods.py, once more
# with one thing changed (seed 0).
#
# The weight: to one digit, that at which the loss's first gradient in the
# student's backbone is as long as that of cross entropy of weight 1:
#   python -m luminet_mm.analysis.gradients \
#       configs/sweeps/cifar10_second_look.py --steps 2
# SimKD has no cross entropy to be compared with. It has ten epochs instead of
# two, which is the schedule of configs/sweeps/cifar10.py.
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
    simkd=dict(
        config=_base_.runs.simkd.config,
        seeds=[0],
        options={
            'train_cfg.val_interval': 10,
            'model.head.loss.loss_weight': 0.0,
            'model.distill.loss_simkd': _base_.losses.simkd,
            'custom_hooks.1.loss_simkd': dict(warmup=66),
        },
    ),
)
