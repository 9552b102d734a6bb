# ImageNet-1k in data/imagenet: random resized crops of 224, flips.
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs32.py'
train_dataloader = dict(persistent_workers=True)  # x 8 GPUs
val_dataloader = dict(persistent_workers=True)
test_dataloader = val_dataloader
