# 240 epochs of 64 images: the recipe of CRD, mdistiller and LumiNet.
_base_ = 'mmpretrain::_base_/default_runtime.py'
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
train_cfg = dict(by_epoch=True, max_epochs=240, val_interval=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=0.0005)
)
param_scheduler = dict(
    type='MultiStepLR', by_epoch=True, milestones=[150, 180, 210], gamma=0.1
)
# one GPU; --auto-scale-lr adapts lr to another batch
auto_scale_lr = dict(enable=False, base_batch_size=64)
default_hooks = dict(
    checkpoint=dict(interval=20, max_keep_ckpts=1, save_best='accuracy/top1')
)
