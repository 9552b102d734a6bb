"""ResNet-18 on ImageNet-1k, trained alone: the baseline.

Needs    ImageNet-1k in data/imagenet (docs/classifiers.md).
Run      tools/dist_train.sh configs/imagenet/resnet18_in1k.py 8
Paper    69.75, top-5 89.07 (LumiNet, Table 2). Not run here yet.
"""

_base_ = [
    'mmpretrain::_base_/models/resnet18.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
]
# 8 GPUs x 64 images
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.2))
auto_scale_lr = dict(base_batch_size=512)
