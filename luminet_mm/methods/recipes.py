"""Recipes and networks that are compared with the methods but are not losses.

Also the index of the two papers: for each system in their tables, its
counterpart here.
"""

from __future__ import annotations

from dataclasses import dataclass

from luminet_mm.losses.base.card import Paper
from luminet_mm.methods.method import METHODS

_ARXIV = 'https://arxiv.org/abs/'


@dataclass(frozen=True)
class Recipe:
    """A method that is a config, a student or a schedule around losses.

    Attributes:
        title: Its usual name.
        paper: The paper that published it.
        how: Its counterpart here, in Markdown, and what is missing.
        configs: Its configs, in ``configs/``.
        optimizer: The optimizer of its configs.
    """

    title: str
    paper: Paper | None
    how: str
    configs: tuple[str, ...] = ()
    optimizer: str = 'SGD with Momentum'


RECIPES = (
    Recipe(
        'DML',
        Paper(
            'Deep Mutual Learning', 'Zhang et al. 2018', f'{_ARXIV}1706.00384'
        ),
        '`MutualClassifier` with `KDLoss`: '
        '[mutual learning](classifiers.md#mutual-learning). All networks are '
        'updated at once; the paper updates them in turn. Classifiers only',
        (
            'cifar100/dml_resnet56_resnet20_cifar100.py',
            'imagenet/dml_resnet34_resnet18_in1k.py',
        ),
    ),
    Recipe(
        'TAKD',
        Paper(
            'Improved Knowledge Distillation via Teacher Assistant',
            'Mirzadeh et al. 2020',
            f'{_ARXIV}1902.03393',
        ),
        '`KDLoss` twice, in a [chain](chains.md) of configs: a link is the '
        'teacher of the next',
        (
            'cifar100/takd_resnet56_resnet32_resnet20_cifar100.py',
            'takd_frcnn_r101_r50_r18_coco.py',
        ),
    ),
    Recipe(
        'CTKD',
        Paper(
            'Curriculum Temperature for Knowledge Distillation',
            'Li et al. 2023',
            f'{_ARXIV}2211.16231',
        ),
        "`tau='learned'` in a loss: "
        '[a temperature that is learned]'
        '(losses.md#a-temperature-that-is-learned). The global form; of the '
        'form for each image, a sketch is all that was released',
        (
            'cifar100/ctkd_resnet56_resnet20_cifar100.py',
            'cifar100/ctkd_vgg13_vgg8_cifar100.py',
        ),
    ),
    Recipe(
        'DOT',
        Paper(
            'DOT: A Distillation-Oriented Trainer',
            'Zhao et al. 2023',
            f'{_ARXIV}2307.08436',
        ),
        '`DOTOptimWrapper`, with every loss: '
        '[two momenta](losses.md#two-momenta-dot)',
        (
            'cifar100/dot_resnet32x4_resnet8x4_cifar100.py',
            'cifar100/dot_vgg13_vgg8_cifar100.py',
            'cifar100/luminet_dot_resnet32x4_resnet8x4_cifar100.py',
            'imagenet/dot_resnet34_resnet18_in1k.py',
        ),
    ),
    Recipe(
        'Several teachers',
        None,
        'a list in `model.teacher`: losses on logits use the mean of their '
        'teachers, or each loss has '
        '[its own teacher](classifiers.md#variants)',
        ('cifar100/luminet_ensemble_wrn-16-2_cifar100.py',),
    ),
    Recipe(
        'DeiT',
        Paper(
            'Training data-efficient image transformers & distillation '
            'through attention',
            'Touvron et al. 2021',
            f'{_ARXIV}2012.12877',
        ),
        '`DeiTDistillHead` with `HardLabelLoss` or `KDLoss` on the '
        '[distillation token](transformers.md#deit-two-tokens)',
        (
            'imagenet/deit-hard_regnety-160_deit-tiny_in1k.py',
            'imagenet/deit-soft_regnety-160_deit-tiny_in1k.py',
        ),
        'AdamW',
    ),
    Recipe(
        'Co-advise',
        Paper(
            'Co-advise: Cross Inductive Bias Distillation',
            'Ren et al. 2022',
            f'{_ARXIV}2106.12378',
        ),
        'the student `CivT` and two teachers, one for '
        '[each token](transformers.md#stems-for-srd-vkd-and-co-advise). Its '
        "authors' teachers are not part of their code",
        ('imagenet/coadvise_regnety-040_rednet-101_civt-tiny_in1k.py',),
        'AdamW',
    ),
    Recipe(
        'FunMatch',
        Paper(
            'Knowledge distillation: A good teacher is patient and consistent',
            'Beyer et al. 2022',
            f'{_ARXIV}2106.05237',
        ),
        '`KDLoss` without labels on mixed images, and '
        '[patience](transformers.md#funmatch-a-patient-and-consistent-teacher)',
        (
            'imagenet/funmatch_bit-r152x2_bit-r50x1_in1k.py',
            'flowers102/funmatch_bit-r152x2_bit-r50x1_flowers102.py',
        ),
        'AdamW',
    ),
    Recipe(
        'DearKD',
        Paper(
            'DearKD: Data-Efficient Early Knowledge Distillation for Vision '
            'Transformers',
            'Chen et al. 2022',
            f'{_ARXIV}2204.12997',
        ),
        'not under its name. [The public parts](transformers.md#dearkd) are '
        'here: `TokenHintLoss` maps early tokens to the shape of a '
        "CNN's early map, and `DistillScheduleHook` ends distillation. Not "
        'public: its code, its aligner and attention layers, the choice of '
        'layers, the weights, and when distillation ends',
        ('imagenet/token-hint_regnety-160_deit-tiny_in1k.py',),
        'AdamW',
    ),
    Recipe(
        'Involution',
        Paper(
            'Involution: Inverting the Inherence of Convolution for Visual '
            'Recognition',
            'Li et al. 2021',
            f'{_ARXIV}2103.06255',
        ),
        'a network: the backbone `RedNet`, in plain PyTorch, which loads the '
        "authors' weights",
        ('imagenet/coadvise_regnety-040_rednet-101_civt-tiny_in1k.py',),
        'AdamW',
    ),
)

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
