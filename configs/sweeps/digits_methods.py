# Every method for two-stage detectors on one footing: digits in scenes, as in
# configs/kd_frcnn_digits.py, two seeds, 50 steps of warm-up for all.
#
# FSP and PKD are left out, since they need equal channels: the pyramids have
# 40 and 32. The first ones have weights for Faster R-CNN from their papers or,
# KD and DKD, from mdistiller. LumiNet has none: its tau and weight are the
# best of those tried here (docs/results.md).
losses = dict(
    luminet=dict(
        type='luminet_mm.LumiNetLoss',
        signal='roi.cls_score',
        tau=1.0,
        loss_weight=4.0,
    ),
    kd=dict(
        type='luminet_mm.KDLoss',
        signal='roi.cls_score',
        tau=1.0,
        loss_weight=1.0,
    ),
    dkd=dict(
        type='luminet_mm.DKDLoss',
        signal='roi.cls_score',
        tau=1.0,
        alpha=1.0,
        beta=0.25,
        loss_weight=1.0,
    ),
    dist=dict(
        type='luminet_mm.DISTLoss',
        signal='roi.cls_score',
        tau=1.0,
        beta=1.0,
        gamma=1.0,
        loss_weight=1.0,
    ),
    reviewkd=dict(
        type='luminet_mm.ReviewKDLoss', signal='neck', loss_weight=1.2
    ),
    cwd=dict(
        type='luminet_mm.CWDLoss',
        signal='neck',
        tau=1.0,
        connector='linear',
        loss_weight=10.0,
    ),
    mgd=dict(
        type='luminet_mm.MGDLoss',
        signal='neck',
        mask_ratio=0.45,
        loss_weight=5e-7,
    ),
    fgd=dict(type='luminet_mm.FGDLoss', signal='neck', loss_weight=1.0),
    fgfi=dict(type='luminet_mm.FGFILoss', signal='neck', loss_weight=0.01),
    fcfd=dict(
        type='luminet_mm.FCFDRoILoss',
        signal=['neck', 'roi.cls_score', 'roi.bbox_pred'],
        tau=1.0,
        feature_weight=1.0,
        kd_weight=1.0,
        box_weight=1.0,
        loss_weight=1.0,
    ),
    # No weight was published for what follows. One rule for all: the options
    # of the paper, of its setting for ImageNet if it has one, and the weight,
    # to one digit, at which the loss's gradient in backbone and neck is as
    # long as that of the detector's own losses, as it is for KD and DKD:
    #   python -m luminet_mm.analysis.gradients \
    #       configs/sweeps/digits_methods.py --steps 2
    lskd=dict(
        type='luminet_mm.LogitStandardizationKDLoss',
        signal='roi.cls_score',
        tau=2.0,
        loss_weight=0.2,
    ),
    nkd=dict(
        type='luminet_mm.NKDLoss',
        signal='roi.cls_score',
        tau=1.0,
        gamma=1.5,
        loss_weight=0.9,
    ),
    wsld=dict(
        type='luminet_mm.WSLDLoss',
        signal='roi.cls_score',
        tau=2.0,
        loss_weight=0.5,
    ),
    mlld=dict(
        type='luminet_mm.MLLDLoss',
        signal='roi.cls_score',
        tau=[2, 3, 4, 5, 6],
        loss_weight=0.005,
    ),
    hard=dict(
        type='luminet_mm.HardLabelLoss',
        signal='roi.cls_score',
        loss_weight=1.0,
    ),
    fitnet=dict(type='luminet_mm.FitNetLoss', signal='neck', loss_weight=0.4),
    at=dict(type='luminet_mm.ATLoss', signal='neck', p=2, loss_weight=10.0),
    nst=dict(type='luminet_mm.NSTLoss', signal='neck', loss_weight=0.3),
    ab=dict(type='luminet_mm.ABLoss', signal='neck', loss_weight=0.04),
    ofd=dict(type='luminet_mm.OFDLoss', signal='neck', loss_weight=0.0001),
    vid=dict(type='luminet_mm.VIDLoss', signal='neck', loss_weight=9.0),
    simkd=dict(type='luminet_mm.SimKDLoss', signal='neck', loss_weight=0.5),
    srd=dict(type='luminet_mm.SRDLoss', signal='roi.feats', loss_weight=0.4),
    vkd=dict(type='luminet_mm.VkDLoss', signal='roi.feats', loss_weight=0.3),
    rkd=dict(
        type='luminet_mm.RKDLoss',
        signal='backbone',
        levels=[-1],
        distance_weight=25.0,
        angle_weight=50.0,
        loss_weight=0.01,
    ),
    sp=dict(
        type='luminet_mm.SPLoss',
        signal='neck',
        sync_stats=False,
        loss_weight=1.0,
    ),
    pkt=dict(
        type='luminet_mm.PKTLoss', signal='roi.feats', loss_weight=3000.0
    ),
    cc=dict(type='luminet_mm.CCLoss', signal='roi.feats', loss_weight=0.001),
)
runs = dict(
    student=dict(
        config='configs/frcnn_student_digits.py',
        seeds=[0, 1],
        options={'train_cfg.val_interval': 3},
    ),
    **{
        name: dict(
            config='configs/_base_/pairs/frcnn_digits_methods.py',
            seeds=[0, 1],
            options={
                'train_cfg.val_interval': 3,
                f'model.distill.loss_{name}': loss,
                f'custom_hooks.1.loss_{name}.warmup': 50,
            },
        )
        for name, loss in losses.items()
    },
)
