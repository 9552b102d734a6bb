"""LumiNet: R101 teaches R18 on COCO, on 16 GPUs with 32 images per step.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing).
         Downloaded on first use: the teacher (41.8 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      NNODES=2 NODE_RANK=... MASTER_ADDR=... \
         tools/dist_train.sh configs/luminet_frcnn_r101_r18_16xb2_coco.py 8
Paper    has one GPU. Not run here yet.
Derived  lr and iterations by linear scaling (docs/distributed.md); tau,
         loss_weight, background and warm-up as with 8 GPUs.
"""

_base_ = 'luminet_frcnn_r101_r18_coco.py'
# 2 times the batch and the lr for 1/2 of the iterations; both warm-ups
# keep their iterations
train_cfg = dict(max_iters=45000, val_interval=5000)
optim_wrapper = dict(optimizer=dict(lr=0.04))
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, end=500),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        end=45000,
        milestones=[30000, 40000],
        gamma=0.1,
    ),
]
default_hooks = dict(checkpoint=dict(interval=5000))
