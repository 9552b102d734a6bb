"""Vision transformers with stems: tokens, positions, start and training."""

import pytest
import tiny_cls
import torch
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope

from luminet_mm.models.backbones.conv_stem_vit import CivT, ConvStemViT
from luminet_mm.models.backbones.rednet import RedNet

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
both = pytest.mark.parametrize(('cls', 'stems'), [(ConvStemViT, 1), (CivT, 2)])


def vit(cls=ConvStemViT, **kwargs):
    torch.manual_seed(0)
    model = cls(**{'arch': ARCH, 'img_size': 32, 'patch_size': 8, **kwargs})
    model.train(False)  # which returns nothing
    return model


def images(size=(32, 32)):
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))


@both
def test_distillation_tokens_are_the_means_of_the_stems_tokens(cls, stems):
    model = vit(cls)
    embed = model.patch_embed
    assert len(embed.stems) == stems
    tokens, size = embed(images())
    each = [stem(images())[0] for stem in embed.stems]
    assert size == (4, 4) and tokens.shape == (2, stems + 16, 16)
    for k in range(stems):
        torch.testing.assert_close(tokens[:, k], each[k].mean(dim=1))
    torch.testing.assert_close(tokens[:, stems:], sum(each))
    assert not hasattr(model, 'dist_token')


@both
def test_tokens_enter_the_blocks_with_positions_of_their_own(cls, stems):
    model = vit(cls)
    torch.nn.init.normal_(model.cls_token)
    torch.nn.init.normal_(model.pos_embed)
    assert model.pos_embed.shape == (1, 16 + stems + 1, 16)
    seen = []
    model.layers[0].register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    (tokens,) = model(images())
    embedded = model.patch_embed(images())[0]
    expected = torch.cat([model.cls_token.expand(2, -1, -1), embedded], dim=1)
    torch.testing.assert_close(seen[0], expected + model.pos_embed)
    # the output is class token, then the distillation tokens
    assert [each.shape for each in tokens] == [(2, 16)] * (stems + 1)
    (raw,) = vit(cls, out_type='raw')(images())
    assert raw.shape == (2, 16 + stems + 1, 16)
    (patches,) = vit(cls, out_type='featmap')(images())
    torch.testing.assert_close(
        patches.flatten(2).mT, raw[:, stems + 1 :], rtol=0, atol=0
    )


def test_the_stem_is_the_papers():
    model = ConvStemViT()
    (stem,) = model.patch_embed.stems
    convs = [m for m in stem.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.kernel_size, c.stride, c.out_channels) for c in convs] == [
        ((7, 7), (2, 2), 64),
        ((3, 3), (1, 1), 64),
        ((3, 3), (1, 1), 64),
        ((8, 8), (8, 8), 192),
    ]
    assert [c.bias is None for c in convs] == [True, True, True, False]
    assert sum(isinstance(m, torch.nn.ReLU) for m in stem.modules()) == 3
    assert model.pos_embed.shape == (1, 14 * 14 + 2, 192)


def test_the_involution_stem_is_rednets():
    model = CivT()
    ours = model.patch_embed.stems[1][0].state_dict()
    theirs = RedNet(26).stem.state_dict()
    assert {k: v.shape for k, v in ours.items()} == {
        k: v.shape for k, v in theirs.items()
    }
    assert model.pos_embed.shape == (1, 14 * 14 + 3, 192)


@pytest.mark.parametrize(
    ('cls', 'arch', 'head', 'count'),
    [
        (ConvStemViT, 'deit-tiny', 2, 6_633_104),
        (ConvStemViT, 'deit-small', 2, 23_797_520),
        (CivT, 'deit-tiny', 3, 7_632_906),
        (CivT, 'deit-small', 3, 25_776_138),
    ],
)
def test_sizes_with_their_classifiers(cls, arch, head, count):
    model = cls(arch)
    width = model.embed_dims
    assert count == head * (width + 1) * 1000 + sum(
        p.numel() for p in model.parameters()
    )


@both
@pytest.mark.parametrize('size', [(32, 32), (48, 32), (45, 31)])
def test_other_sizes_have_their_positions_resized(cls, stems, size):
    (tokens,) = vit(cls)(images(size))
    assert all(each.shape == (2, 16) for each in tokens)
    model = vit(cls, img_size=size)
    grid = [-(-n // 8) for n in size]
    assert model.patch_embed(images(size))[1] == tuple(grid)
    assert model.pos_embed.shape[1] == grid[0] * grid[1] + stems + 1


def test_a_checkpoint_of_another_size_has_its_positions_resized():
    MMLogger.get_current_instance()
    small, large = vit(), vit(img_size=64)
    large.load_state_dict(small.state_dict())
    torch.testing.assert_close(
        large.pos_embed[:, :2], small.pos_embed[:, :2], rtol=0, atol=0
    )


def test_initialised_as_by_the_authors():
    model = vit(ConvStemViT, arch='deit-small', patch_size=16)
    model.init_weights()
    for conv in model.patch_embed.modules():
        if isinstance(conv, torch.nn.Conv2d):
            expected = (2 / conv.weight[0].numel()) ** 0.5
            assert conv.weight.std().item() == pytest.approx(expected, rel=0.1)
    assert 0.01 < model.pos_embed.std() < 0.03


def test_odd_patches_are_named():
    with pytest.raises(ValueError, match='patch_size is 7'):
        vit(patch_size=7, img_size=28)


@both
def test_learns_from_a_teacher_for_each_token(cls, stems):
    head = dict(
        type='luminet_mm.DeiTDistillHead',
        num_dist_tokens=stems,
        num_classes=tiny_cls.NUM_CLASSES,
        in_channels=16,
        loss=dict(type='CrossEntropyLoss'),
        init_cfg=dict(type='Normal', layer='Linear', std=0.1),
    )
    student = tiny_cls.classifier('vit')
    student.update(
        backbone=dict(
            type=f'luminet_mm.{cls.__name__}',
            arch=ARCH,
            img_size=32,
            patch_size=8,
        ),
        head=head,
    )
    heads = ['head.layers.head_dist', 'head.layers.head_dist2'][:stems]
    losses = {
        f'loss_kd{i}': dict(
            type='luminet_mm.KDLoss',
            student=name,
            teacher='logits',
            teachers=[i],
        )
        for i, name in enumerate(heads)
    }
    losses['loss_srd'] = dict(
        type='luminet_mm.SRDLoss',
        student='backbone.ln1',
        teacher='backbone.layer4',
        extra_tokens=1 + stems,
        form='correlation',
        teachers=[stems - 1],
    )
    teachers = [
        dict(
            config=dict(model=tiny_cls.classifier(width=8 + 4 * i)),
            checkpoint=None,
        )
        for i in range(stems)
    ]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = tiny_cls.build(tiny_cls.distiller(student, teachers, **losses))
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = tiny_cls.prepared(model)
    log = model.loss(data['inputs'], data['data_samples'])
    assert set(log) == {'loss_cls', *losses}
    sum(log.values()).backward()
    optimizer.step()
    for key, parameter in model.named_parameters():
        # what is before a batch norm's mean has a gradient of 0
        assert not parameter.equal(before[key]), key


def test_found_by_name():
    for cls in (ConvStemViT, CivT):
        cfg = dict(type=f'luminet_mm.{cls.__name__}', arch=ARCH, img_size=32)
        assert type(MODELS.build(cfg)) is cls
