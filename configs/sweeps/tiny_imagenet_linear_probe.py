# LumiNet's Figure 4a: a linear classifier on the frozen features of WRN-16-2,
# trained alone and distilled. Train those four first.
names = dict(
    student='wrn-16-2',
    kd='kd_wrn-40-2_wrn-16-2',
    dkd='dkd_wrn-40-2_wrn-16-2',
    luminet='luminet_wrn-40-2_wrn-16-2',
)
runs = {
    method: dict(
        config='configs/tiny_imagenet/linear-probe_wrn-16-2_tiny-imagenet.py',
        seeds=[0, 1, 2],
        options={
            'model.backbone.init_cfg.checkpoint': (
                f'work_dirs/{name}_cifar100/epoch_240.pth'
            )
        },
    )
    for method, name in names.items()
}
