"""The systems in the tables of two papers, and their counterparts here."""

from __future__ import annotations

from luminet_mm.methods.method import METHODS
from luminet_mm.methods.recipes import RECIPES

_TIMM = 'a teacher of [timm](transformers.md#timm)'
SYSTEMS: tuple[tuple[str, str, str], ...] = (
    # name, where it is compared, and its counterpart; if empty, by its name
    ('FitNet', 'LumiNet 1, 3, 4', ''),
    ('RKD', 'LumiNet 1, 3', ''),
    ('CRD', 'LumiNet 1–3; projector 2, 3', ''),
    ('OFD', 'LumiNet 1–3', ''),
    ('ReviewKD', 'LumiNet 1–4; projector 2, 3', ''),
    (
        'ReviewKD with LumiNet',
        'LumiNet, supplement 1',
        'two losses in one config: '
        '`cifar100/luminet_reviewkd_wrn-40-2_shufflenetv1_cifar100.py`',
    ),
    ('FCFD', 'LumiNet 1', ''),
    ('AT', 'LumiNet 2; projector 2', ''),
    ('FGFI', 'LumiNet 4', ''),
    ('KD', 'LumiNet 1–4, 6; projector 2, 3', ''),
    ('DML', 'LumiNet 1, 2', ''),
    ('TAKD', 'LumiNet 1, 2, 4', ''),
    ('DKD', 'LumiNet 1–4; projector 3', ''),
    ('MLLD', 'LumiNet 5, as "Jin et al."', ''),
    ('LumiNet', 'LumiNet 1–6', ''),
    ('Several teachers', 'LumiNet, figure 4d', ''),
    ('CC', 'projector 2', ''),
    ('SRD', 'projector 1–3, as "Our Method"', ''),
    (
        'SRD with DKD',
        'projector 3',
        'two losses in one config: '
        '`cifar100/srd_dkd_resnet32x4_resnet8x4_cifar100.py`',
    ),
    ('DeiT', 'projector 1', ''),
    ('Co-advise', 'projector 1, as "CivT"', ''),
    ('DearKD', 'projector 1', ''),
    ('USKD', 'projector 1, with a teacher that its code lacks', ''),
    ('FunMatch', 'projector 1', ''),
    ('RegNetY-160', 'projector 1', _TIMM),
    ('BiT-M R152x2', 'projector 1', _TIMM),
    ('RedNet', "projector 1, a teacher of CivT's", '`RedNet`'),
    (
        'ResNet-20 to ResNet-110, ResNet-8x4, ResNet-32x4',
        'LumiNet 1, 3, 5; projector 3',
        '`CIFARResNet`',
    ),
    (
        'ResNet-50 on CIFAR-100',
        'LumiNet 1; projector 3',
        "MMPretrain's, in `cifar100/resnet50_cifar100.py`",
    ),
    (
        'ResNet-34 and ResNet-18 on ImageNet',
        'LumiNet 2; projector 2',
        "MMPretrain's, in `imagenet/luminet_resnet34_resnet18_in1k.py`",
    ),
    ('WRN-16-2, WRN-40-1, WRN-40-2', 'LumiNet 1, 5', '`CIFARWideResNet`'),
    ('VGG-8, VGG-13', 'LumiNet 1, 5', '`CIFARVGG`'),
    (
        'MobileNetV2, ShuffleNetV1, ShuffleNetV2',
        'LumiNet 1, 5; projector 3',
        '`CIFARMobileNetV2`, `CIFARShuffleNetV1`, `CIFARShuffleNetV2`',
    ),
    (
        'ViTs of 21.3 and 2.38 million parameters',
        'LumiNet 6',
        "MMPretrain's, in `cifar100/luminet_vit-384_vit-128_cifar100.py`",
    ),
    (
        'Faster R-CNN, ResNet-101 to ResNet-18',
        'LumiNet 4, as "ResNet110"',
        "MMDetection's, in `luminet_frcnn_r101_r18_coco.py`",
    ),
    (
        'AutoAugment',
        'LumiNet 5',
        "torchvision's policy for CIFAR, in "
        '`cifar100/luminet_vgg13_vgg8_autoaugment_cifar100.py`',
    ),
    (
        'batch sizes and temperatures',
        'LumiNet, figures 4b and 4c',
        'the grids `sweeps/cifar100_batch_size.py` and '
        '`sweeps/cifar100_tau.py`',
    ),
    (
        'linear probe on Tiny-ImageNet',
        'LumiNet, figure 4a',
        '`LinearProbe`, in '
        '`tiny_imagenet/linear-probe_wrn-16-2_tiny-imagenet.py`',
    ),
)


def systems() -> list[list[str]]:
    """A row for each system in the papers: name, tables, counterpart here.

    Raises:
        KeyError: A system is neither a card nor a recipe, and has no text.
    """
    known = {
        recipe.title: 'see [above](#methods-that-are-not-a-loss)'
        for recipe in RECIPES
    }
    for method in reversed(METHODS):
        name = method.card.name
        loss = f'`{method.loss}`'
        same = known.get(name, '')
        known[name] = f'{loss}, {same}' if '`' in same else loss
    return [
        [name, where, here or known[name]] for name, where, here in SYSTEMS
    ]
