# Every method for classifiers on one footing: a tenth of CIFAR-10, ResNet-56
# and ResNet-20, 2 epochs, three seeds. Train
# configs/cifar10/resnet56_cifar10-third.py first.
#
# Each method is its own term beside cross entropy, also where its paper adds
# KD (SemCKD, SRD, VkD) or trains in two phases (FSP, AB). Settings are the
# papers' for ResNet-56 and ResNet-20 on CIFAR-100; where a paper has no such
# pair, those of its other pairs on CIFAR-100 (LumiNet, NKD, NORM), then of
# ImageNet (WSLD, MGD, SRD, hard labels, USKD, VkD), then of detectors (PKD,
# CWD). The students of SimKD and NORM are larger than the others'.
stages = ['backbone.layer1', 'backbone.layer2', 'backbone.layer3']
preacts = [f'{stage}.preact' for stage in stages]
losses = dict(
    luminet=dict(
        type='luminet_mm.LumiNetLoss',
        signal='logits',
        tau=4.0,
        loss_weight=33.0**2,
    ),
    kd=dict(
        type='luminet_mm.KDLoss', signal='logits', tau=4.0, loss_weight=0.9
    ),
    dkd=dict(
        type='luminet_mm.DKDLoss',
        signal='logits',
        tau=4.0,
        alpha=1.0,
        beta=2.0,
        loss_weight=1.0,
    ),
    dist=dict(
        type='luminet_mm.DISTLoss',
        signal='logits',
        tau=4.0,
        beta=2.0,
        gamma=2.0,
        loss_weight=1.0,
    ),
    lskd=dict(
        type='luminet_mm.LogitStandardizationKDLoss',
        signal='logits',
        tau=2.0,
        loss_weight=9.0,
    ),
    nkd=dict(
        type='luminet_mm.NKDLoss',
        signal='logits',
        tau=3.0,
        gamma=3.5,
        loss_weight=1.0,
    ),
    wsld=dict(
        type='luminet_mm.WSLDLoss', signal='logits', tau=2.0, loss_weight=2.5
    ),
    # one view; the paper trains on two
    mlld=dict(
        type='luminet_mm.MLLDLoss',
        signal='logits',
        tau=[2, 3, 4, 5, 6],
        loss_weight=0.9,
    ),
    hard=dict(
        type='luminet_mm.HardLabelLoss', signal='logits', loss_weight=0.5
    ),
    # no teacher
    uskd=dict(
        type='luminet_mm.USKDLoss',
        student=['logits', 'backbone.layer2'],
        alpha=1.0,
        beta=0.1,
        mu=0.005,
        loss_weight=1.0,
    ),
    fitnet=dict(
        type='luminet_mm.FitNetLoss',
        signal='backbone.layer2',
        loss_weight=100.0,
    ),
    at=dict(type='luminet_mm.ATLoss', signal=stages, p=2, loss_weight=1000.0),
    nst=dict(type='luminet_mm.NSTLoss', signal=stages, loss_weight=50.0),
    fsp=dict(
        type='luminet_mm.FSPLoss',
        signal=['backbone.stem', *stages],
        loss_weight=50.0,
    ),
    ab=dict(type='luminet_mm.ABLoss', signal=preacts, loss_weight=1.0),
    ofd=dict(type='luminet_mm.OFDLoss', signal=preacts, loss_weight=1e-3),
    vid=dict(type='luminet_mm.VIDLoss', signal=stages, loss_weight=1.0),
    reviewkd=dict(
        type='luminet_mm.ReviewKDLoss',
        student=[*stages, 'feats'],
        teacher=[*preacts, 'feats'],
        loss_weight=0.6,
    ),
    semckd=dict(
        type='luminet_mm.SemCKDLoss',
        signal=stages,
        batch_size=64,
        loss_weight=400.0,
    ),
    simkd=dict(
        type='luminet_mm.SimKDLoss',
        student='neck.0',
        teacher='backbone.layer3',
        factor=None,
        loss_weight=1.0,
    ),
    norm=dict(
        type='luminet_mm.NORMLoss',
        student='neck.0.expand',
        teacher='backbone.layer3',
        loss_weight=1.0,
    ),
    fcfd=dict(
        type='luminet_mm.FCFDLoss',
        signal=[*stages, 'logits'],
        tau=4.0,
        feature_weight=0.02,
        loss_weight=1.0,
    ),
    srd=dict(
        type='luminet_mm.SRDLoss',
        signal='feats',
        connector=dict(type='mlp', hidden=1024),
        loss_weight=2.0,
    ),
    vkd=dict(type='luminet_mm.VkDLoss', signal='feats', loss_weight=1.0),
    rkd=dict(
        type='luminet_mm.RKDLoss',
        signal='feats',
        distance_weight=25.0,
        angle_weight=50.0,
        loss_weight=1.0,
    ),
    sp=dict(
        type='luminet_mm.SPLoss', signal='backbone.layer3', loss_weight=3000.0
    ),
    pkt=dict(type='luminet_mm.PKTLoss', signal='feats', loss_weight=30000.0),
    cc=dict(type='luminet_mm.CCLoss', signal='feats', loss_weight=0.02),
    crd=dict(
        type='luminet_mm.CRDLoss',
        signal='feats',
        num_samples=5000,
        num_negatives=1638,  # as many for an image as 16384 of 50000
        loss_weight=0.8,
    ),
    pkd=dict(type='luminet_mm.PKDLoss', signal=stages, loss_weight=6.0),
    cwd=dict(
        type='luminet_mm.CWDLoss', signal=stages, tau=1.0, loss_weight=10.0
    ),
    mgd=dict(
        type='luminet_mm.MGDLoss',
        signal='backbone.layer3',
        mask='channel',
        mask_ratio=0.15,
        loss_weight=7e-5,
    ),
)
# weights of cross entropy that are not 1
ce = dict(
    luminet=2.0, kd=0.1, lskd=0.1, mlld=0.1, hard=0.5, simkd=0.0, norm=0.1
)
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
