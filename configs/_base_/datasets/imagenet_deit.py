# ImageNet-1k in data/imagenet as DeiT sees it: RandAugment, random erasing,
# each image three times in a row of batches (repeated augmentation).
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py'
train_dataloader = dict(
    batch_size=128,  # x 8 GPUs
    sampler=dict(
        _delete_=True, type='RepeatAugSampler', num_repeats=3, shuffle=True
    ),
    persistent_workers=True,
)
val_dataloader = dict(batch_size=128, persistent_workers=True)
test_dataloader = val_dataloader
