# The methods of cifar10_auto_methods.py that end below its student, once more
# (seed 0): `..._share0.3` with a share of 0.3 instead of 1, and `..._long`
# with a share of 1 over ten epochs instead of two, as in cifar10_logits.py
# (bf16 autocast on a CPU), whose student they are compared with.
_base_ = 'cifar10_auto_methods.py'
schedules = {'norm': dict(warmup=66, decay=585, stop=785)}
BELOW = ('ab', 'norm', 'vkd', 'vid', 'fsp', 'mgd', 'cc', 'crd', 'uskd')
runs = dict(
    _delete_=True,
    **{
        f'{name}_share0.3': dict(
            config=_base_.runs[name].config,
            seeds=[0],
            options={
                **_base_.runs[name].options,
                f'model.distill.loss_{name}': dict(
                    _base_.losses[name], loss_weight=dict(share=0.3)
                ),
            },
        )
        for name in BELOW
    },
    **{
        f'{name}_long': dict(
            config=_base_.runs[name].config,
            seeds=[0],
            options={
                'train_cfg.val_interval': 10,
                'default_hooks.checkpoint.interval': 10,
                'optim_wrapper.type': 'luminet_mm.CPUAmpOptimWrapper',
                'model.head.loss.loss_weight': 1.0,
                f'model.distill.loss_{name}': dict(
                    _base_.losses[name], loss_weight='auto'
                ),
                f'custom_hooks.1.loss_{name}': schedules.get(
                    name, dict(warmup=66)
                ),
            },
        )
        for name in BELOW
    },
)
