# Vision transformers on CIFAR: AdamW, 252 epochs of 256 images. The numbers
# are Attention Probe's; it trains on other images.
_base_ = 'mmpretrain::_base_/default_runtime.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
train_cfg = dict(by_epoch=True, max_epochs=252, val_interval=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=0.00085, weight_decay=0.025)
)
param_scheduler = dict(
    type='MultiStepLR', by_epoch=True, milestones=[200], gamma=0.1
)
auto_scale_lr = dict(enable=False, base_batch_size=256)
default_hooks = dict(
    checkpoint=dict(interval=20, max_keep_ckpts=1, save_best='accuracy/top1')
)
