# LumiNet's Figure 4b: the batch, which LumiNet takes its statistics over. The
# lr grows with it, which the paper leaves open, as it does the pair.
names = dict(
    student='resnet8x4',
    kd='kd_resnet32x4_resnet8x4',
    luminet='luminet_resnet32x4_resnet8x4',
)
runs = {
    f'{method}_batch{size}': dict(
        config=f'configs/cifar100/{name}_cifar100.py',
        seeds=[0, 1, 2],
        options={
            'train_dataloader.batch_size': size,
            'optim_wrapper.optimizer.lr': 0.05 * size / 64,
        },
    )
    for method, name in names.items()
    for size in (32, 64, 128, 256)
}
