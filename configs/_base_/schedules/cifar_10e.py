# The 240-epoch recipe in 10: the same batch, lr steps in proportion.
_base_ = 'cifar_240e.py'
train_cfg = dict(max_epochs=10, val_interval=2)
param_scheduler = dict(
    _delete_=True,
    type='MultiStepLR',
    by_epoch=True,
    milestones=[6, 8, 9],
    gamma=0.1,
)
default_hooks = dict(
    checkpoint=dict(interval=2, max_keep_ckpts=1, save_best='accuracy/top1')
)
