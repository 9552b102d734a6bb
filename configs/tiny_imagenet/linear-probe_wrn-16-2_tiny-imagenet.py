"""Linear probe: what WRN-16-2 learnt on CIFAR-100 is worth on Tiny-ImageNet.

Needs    Tiny-ImageNet in data/tiny-imagenet-200, its val split sorted by
         tools/prepare_tiny_imagenet.py, and a trained WRN-16-2: here that of
         configs/cifar100/luminet_wrn-40-2_wrn-16-2_cifar100.py.
Run      python tools/train.py \
         configs/tiny_imagenet/linear-probe_wrn-16-2_tiny-imagenet.py
         and for another backbone
         --cfg-options model.backbone.init_cfg.checkpoint=FILE
Paper    bars without numbers (LumiNet, Figure 4a). Not run here yet.
Derived  lr, epochs and batch. That the backbone is fixed, batch norm included,
         and weight decay 0 is what DKD's authors say (mdistiller, issue 59).
"""

_base_ = [
    '../_base_/models/cifar/wrn-16-2.py',
    '../_base_/datasets/tiny_imagenet_32px.py',
    '../_base_/schedules/linear_probe_100e.py',
]
model = dict(
    type='luminet_mm.LinearProbe',
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint=(
                'work_dirs/luminet_wrn-40-2_wrn-16-2_cifar100/epoch_240.pth'
            ),
            prefix='backbone.',
        )
    ),
    head=dict(num_classes=200),
)
