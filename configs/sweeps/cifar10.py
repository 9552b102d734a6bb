# The result table on a tenth of CIFAR-10: three seeds of the student alone and
# of each method.
pair = 'resnet56_resnet20_cifar10-tenth'
runs = {
    name: dict(config=f'configs/cifar10/{name}.py', seeds=[0, 1, 2])
    for name in (
        'resnet20_cifar10-tenth',
        f'luminet_{pair}',
        f'kd_{pair}',
        f'dkd_{pair}',
        f'dist_{pair}',
    )
}
