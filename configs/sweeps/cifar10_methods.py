# Every method for classifiers on equal terms: a tenth of CIFAR-10, ResNet-56
# and ResNet-20, 2 epochs, three seeds.
#
# Each method is its own term beside cross entropy, also where its paper adds
# KD (SemCKD, SRD, VkD) or trains in two phases (FSP, AB). Settings are the
# papers' for ResNet-56 and ResNet-20 on CIFAR-100; where a paper has no such
# pair, those of its other pairs on CIFAR-100 (LumiNet, NKD, NORM, TTM, LDRLD,
# SDD), then of ImageNet (WSLD, MGD, SRD, hard labels, USKD, VkD, DIST+), then
# of detectors (PKD, CWD). WTTM has the one published setting, beside CRD. The
# students of SimKD and NORM are larger than the others'.
#
# They are on the cards of the losses, as `uses['classifier']`: options,
# weight, signals by kind, and the weight of cross entropy (`ce`) where it is
# not 1.
from importlib import import_module

methods = import_module('luminet_mm.methods')
losses = methods.compared('classifier')
ce = methods.supervised('classifier')
# Every loss is warmed up, for the share of the 156 steps that mdistiller gives
# DKD and LumiNet of 240 epochs. Some losses without it kill the student in its
# first steps (MLLD's ended at 10 %).
schedules = {name: dict(warmup=13) for name in losses}
schedules['fcfd']['part'] = 'features'
schedules['norm'].update(decay=117, stop=157)
# students with a part of the method
pairs = dict(simkd='simkd', norm='norm')
# 156 steps of 64 images (SemCKD takes no other number), lr x0.1 after 104, 130
schedule = {
    'train_dataloader.drop_last': True,
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 2,
    'param_scheduler.by_epoch': False,
    'param_scheduler.milestones': [104, 130],
    'default_hooks.checkpoint.interval': 2,
}
runs = dict(
    student=dict(
        config='configs/cifar10/resnet20_cifar10-tenth.py',
        seeds=[0, 1, 2],
        options=schedule,
    ),
    **{
        name: dict(
            config=(
                'configs/_base_/pairs/resnet56_resnet20_cifar10_'
                f'{pairs.get(name, "methods")}.py'
            ),
            seeds=[0, 1, 2],
            options={
                **schedule,
                'model.head.loss.loss_weight': ce.get(name, 1.0),
                f'model.distill.loss_{name}': loss,
                f'custom_hooks.1.loss_{name}': schedules[name],
            },
        )
        for name, loss in losses.items()
    },
)
