# LumiNet's Table 1: three seeds of every student alone and of each method, 240
# epochs each. Needs the teachers in checkpoints/cifar100.
pairs = [
    'resnet56_resnet20',
    'resnet110_resnet32',
    'resnet32x4_resnet8x4',
    'wrn-40-2_wrn-16-2',
    'wrn-40-2_wrn-40-1',
    'vgg13_vgg8',
    'resnet32x4_shufflenetv1',
    'wrn-40-2_shufflenetv1',
    'vgg13_mobilenetv2',
    'resnet50_mobilenetv2',
    'resnet32x4_shufflenetv2',
]
students = list(dict.fromkeys(pair.split('_')[1] for pair in pairs))
runs = {
    name: dict(config=f'configs/cifar100/{name}_cifar100.py', seeds=[0, 1, 2])
    for name in students
    + [
        f'{method}_{pair}'
        for pair in pairs
        for method in ('kd', 'dkd', 'luminet')
    ]
}
