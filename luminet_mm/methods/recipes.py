"""Recipes and networks that are compared with methods and are not losses."""

from __future__ import annotations

from dataclasses import dataclass

from luminet_mm.losses.base.card import Paper

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
        '`KDLoss` twice, in a [chain](configs.md#chains-of-teachers) of '
        'configs: a link is the teacher of the next',
        (
            'cifar100/takd_resnet56_resnet32_resnet20_cifar100.py',
            'takd_frcnn_r101_r50_r18_coco.py',
        ),
    ),
    Recipe(
        'AvatarKD',
        Paper(
            'Avatar Knowledge Distillation: Self-ensemble Teacher Paradigm '
            'with Uncertainty',
            'Zhang et al. 2023',
            f'{_ARXIV}2305.02722',
        ),
        '`CWDLoss`, `MGDLoss` or `MasKDLoss` with `avatar=0.1`: '
        '[avatars](losses.md#maskd-and-avatarkd)',
        ('maskd/avatarkd_frcnn_r101_r50_coco.py',),
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
