# Co-advise's 300 epochs: AdamW, a lr of 0.001 for 1024 images, 20 epochs of
# warm-up, gradients clipped at 15.
_base_ = [
    'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py',
    'mmpretrain::_base_/default_runtime.py',
]
# for scripts that do not import this package, such as MMDetection's own
custom_imports = dict(imports=['luminet_mm'])
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            '.cls_token': dict(decay_mult=0.0),
            '.pos_embed': dict(decay_mult=0.0),
        }
    ),
    clip_grad=dict(max_norm=15.0),
)
auto_scale_lr = dict(enable=False)  # without --auto-scale-lr
default_hooks = dict(
    checkpoint=dict(interval=5, max_keep_ckpts=2, save_best='accuracy/top1')
)
