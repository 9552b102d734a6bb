"""LumiNet: ResNet-34 teaches ResNet-18 on ImageNet-1k, on 64 GPUs.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md). Downloaded on
         first use: the teacher (73.62, MMPretrain's zoo).
Run      NNODES=8 NODE_RANK=... MASTER_ADDR=... tools/dist_train.sh \
         configs/imagenet/luminet_resnet34_resnet18_64xb64_in1k.py 8
Paper    has 512 images per step. Not run here yet.
Derived  4096 images per step, lr by linear scaling, 5 epochs of warm-up
         (docs/distributed.md); tau and loss_weight as with 8 GPUs.
"""

_base_ = './luminet_resnet34_resnet18_in1k.py'
optim_wrapper = dict(optimizer=dict(lr=1.6))
auto_scale_lr = dict(base_batch_size=4096)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.125,
        by_epoch=True,
        end=5,
        convert_to_iter_based=True,
    ),
    dict(
        type='MultiStepLR', by_epoch=True, milestones=[30, 60, 90], gamma=0.1
    ),
]
