# 100 epochs on ImageNet-1k, a tenth of the lr after 30, 60 and 90.
_base_ = [
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    'mmpretrain::_base_/default_runtime.py',
]
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
auto_scale_lr = dict(enable=False)  # without --auto-scale-lr
default_hooks = dict(
    checkpoint=dict(interval=5, max_keep_ckpts=2, save_best='accuracy/top1')
)
