"""KD from cached logits: ResNet-56 teaches ResNet-20 without being run.

Needs    CIFAR-10 as JPEG files in data/cifar10 (docs/classifiers.md), and the
         logits of the teacher in weights/: python tools/cache_teacher.py
         configs/cifar10/kd_cached_resnet56_resnet20_cifar10-tenth.py
Run      python tools/train.py \
         configs/cifar10/kd_cached_resnet56_resnet20_cifar10-tenth.py
Derived  ten views of each image, one for each epoch; tau and weights are
         those of the papers on CIFAR-100.
"""

_base_ = 'kd_resnet56_resnet20_cifar10-tenth.py'
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
