# LumiNet's Figure 4c: the temperature. Its gradient goes as loss_weight over
# tau squared, so the weight follows; the paper does not say what it did, nor
# with which pair.
runs = {
    f'luminet_tau{tau}': dict(
        config='configs/cifar100/luminet_resnet32x4_resnet8x4_cifar100.py',
        seeds=[0, 1, 2],
        options={
            'model.distill.loss_luminet.tau': float(tau),
            'model.distill.loss_luminet.loss_weight': (33 / 4 * tau) ** 2,
        },
    )
    for tau in (1, 2, 3, 4, 5, 6, 7, 8)
}
