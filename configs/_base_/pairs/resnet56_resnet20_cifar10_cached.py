# The pair for a grid of methods, with the teacher's logits from disk: ten
# views of each image, one for each epoch.
_base_ = 'resnet56_resnet20_cifar10_methods.py'
model = dict(teacher=dict(cache='work_dirs/resnet56_cifar10-third/logits'))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='luminet_mm.ReplayDataset',
        rounds=10,
        seed=0,
        dataset=_base_.train_dataloader.dataset,
    ),
    sampler=dict(type='luminet_mm.ReplaySampler'),
)
