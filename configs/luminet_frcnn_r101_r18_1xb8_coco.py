"""LumiNet: R101 teaches R18 on COCO, on one GPU with 8 images per step.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (41.8 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      python tools/train.py configs/luminet_frcnn_r101_r18_1xb8_coco.py
Paper    AP 35.34, AP50 56.82, AP75 37.56 (LumiNet, Table 4), on one GPU too.
         Not run here yet.
Derived  tau, loss_weight, background and warm-up. The authors released neither
         detection code nor its settings.
"""

_base_ = 'luminet_frcnn_r101_r18_coco.py'
train_dataloader = dict(batch_size=8, num_workers=8)
# half the batch and half the lr for twice the iterations
train_cfg = dict(max_iters=180000, val_interval=20000)
optim_wrapper = dict(optimizer=dict(lr=0.01))
auto_scale_lr = dict(base_batch_size=8)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, end=1000),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        end=180000,
        milestones=[120000, 160000],
        gamma=0.1,
    ),
]
default_hooks = dict(checkpoint=dict(interval=20000))
custom_hooks = [
    _base_.custom_hooks[0],
    dict(
        type='luminet_mm.DistillScheduleHook', loss_luminet=dict(warmup=2000)
    ),
]
