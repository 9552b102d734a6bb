"""BackboneModel: a backbone alone, whose maps teach."""

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn import functional as F

from luminet_mm.models.backbone_model import BackboneModel, patch_of
from luminet_mm.registry import MODELS

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch=ARCH,
    img_size=56,
    patch_size=14,
    out_type='featmap',
)


def build(backbone=VIT, **options):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = BackboneModel(dict(backbone), **options)
    for module in model.modules():  # position embeddings start at zero
        if isinstance(getattr(module, 'pos_embed', None), nn.Parameter):
            nn.init.normal_(module.pos_embed)
    return model.eval()


@MODELS.register_module(force=True)
class Patches(nn.Module):
    """Means of patches as tokens or as maps, with other tokens before."""

    def __init__(self, side=14, extra=0, dim=3, twice=False):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, side, stride=side, bias=False)
        nn.init.constant_(self.conv.weight, 1 / side**2)
        self.extra, self.dim, self.twice = extra, dim, twice

    def forward(self, images):
        maps = self.conv(images)
        if self.dim == 4:
            return (maps, -maps) if self.twice else maps
        tokens = maps.flatten(2).transpose(1, 2)
        other = tokens.new_full((len(tokens), self.extra, 1), 9.0)
        tokens = torch.cat([other, tokens], dim=1)
        return tokens[:, 0] if self.dim == 2 else [tokens]


def patches(**options):
    return BackboneModel(dict(type='luminet_mm.Patches', **options))


@pytest.mark.parametrize('size', [(64, 96), (56, 56), (50, 70)])
def test_a_map_has_a_place_for_each_stride(size):
    """16 pixels for patches of 14, whatever the size of the images."""
    model = build()
    (maps,) = model(torch.rand(2, 3, *size))
    assert model.stride == 16
    assert maps.shape == (2, 16, -(-size[0] // 16), -(-size[1] // 16))


@pytest.mark.parametrize('stride', [8, 14, 32])
def test_the_stride_is_a_choice(stride):
    (maps,) = build(stride=stride)(torch.rand(1, 3, 64, 96))
    assert maps.shape[2:] == (-(-64 // stride), -(-96 // stride))


@pytest.mark.parametrize('dim', [3, 4])
def test_a_place_is_where_it_is_in_the_image(dim):
    """A bright square of 16 pixels is one place, tokens or maps."""
    model = patches(extra=5 * (dim == 3), dim=dim)
    image = torch.zeros(1, 1, 64, 96)
    image[..., 16:32, 48:64] = 1
    (maps,) = model(image)
    assert maps.shape == (1, 1, 4, 6)
    assert maps[0, 0, 1, 3] > 0.9 and maps.sum() < 1.2
    model.stride = model.patch_size = 16
    model.backbone = Patches(16)
    (exact,) = model(image)
    assert torch.equal(exact, F.avg_pool2d(image, 16))


def test_images_are_padded_with_zeros_to_whole_strides():
    model = patches(side=16)
    (maps,) = model(torch.ones(1, 1, 40, 32))
    assert maps.flatten().tolist() == [1, 1, 1, 1, 0.5, 0.5]


def test_several_maps_stay_several():
    one, two = patches(dim=4, twice=True)(torch.rand(1, 1, 64, 64))
    assert torch.equal(one, -two)


def test_a_pyramid_keeps_its_strides():
    backbone = dict(
        type='mmpretrain.ResNet', depth=18, out_indices=(0, 1, 2, 3)
    )
    model = build(dict(backbone, base_channels=8, stem_channels=8))
    assert (model.patch_size, model.stride) == (1, 1)
    image = torch.rand(1, 3, 64, 96)
    maps = model(image)
    assert [each.shape[3] for each in maps] == [24, 12, 6, 3]
    assert torch.equal(maps[0], model.backbone(image)[0])
    with pytest.raises(ValueError, match='ResNet does not begin with patches'):
        build(backbone, stride=16)


def test_patches_are_found():
    assert patch_of(build().backbone) == 14
    assert patch_of(nn.Sequential(nn.Conv2d(3, 4, 7, 2))) == 1
    assert patch_of(nn.Sequential(nn.Conv2d(3, 4, (4, 2), (4, 2)))) == 1
    assert build(patch_size=7).patch_size == 7


def test_gradients_are_those_of_any_network():
    model = build()
    model(torch.rand(1, 3, 64, 64))[0].sum().backward()
    assert model.backbone.patch_embed.projection.weight.grad is not None


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(stride=0), 'BackboneModel: stride is 0; set a number of pixels'),
        (dict(patch_size=14.0), 'patch_size is 14.0'),
    ],
)
def test_wrong_options(options, said):
    with pytest.raises(ValueError, match=said):
        build(**options)
    with pytest.raises(ValueError, match='backbone is None; give the block'):
        BackboneModel(None)


def test_what_is_not_a_map_is_refused():
    with pytest.raises(ValueError, match=r"gives \(1, 1\), .*'featmap'"):
        patches(dim=2)(torch.rand(1, 1, 64, 64))
    model = patches()
    model.patch_size = 7
    with pytest.raises(ValueError, match='gives 4 tokens, .*are 16 patches'):
        model(torch.rand(1, 1, 64, 64))


@pytest.mark.parametrize('mode', ['loss', 'predict'])
def test_there_is_nothing_to_predict(mode):
    with pytest.raises(ValueError, match='no predictions and no loss'):
        build()(torch.rand(1, 3, 64, 64), mode=mode)
    assert not BackboneModel.predicts


def test_the_preprocessor_is_mmpretrains_unless_named():
    model = build(data_preprocessor=dict(mean=[1.0] * 3, std=[2.0] * 3))
    assert type(model.data_preprocessor).__name__ == 'ClsDataPreprocessor'
    own = dict(type='mmdet.DetDataPreprocessor')
    model = build(data_preprocessor=own)
    assert type(model.data_preprocessor).__name__ == 'DetDataPreprocessor'


@pytest.mark.parametrize('prefix', ['backbone.', ''])
def test_weights_of_a_whole_model_or_of_the_backbone(prefix):
    """Those of a head are left out; keys of timm lie deeper."""
    model = build()
    state = {
        prefix + key: value
        for key, value in model.backbone.state_dict().items()
    }
    state['head.fc.weight'] = torch.zeros(1)
    assert model.own_state(state).keys() == model.state_dict().keys()
    inner = nn.Module()
    inner.timm_model = model.backbone
    model.backbone = inner
    bare = {key.removeprefix('backbone.'): v for key, v in state.items()}
    assert model.own_state(bare).keys() == model.state_dict().keys()
    assert model.own_state(dict(x=1)) == dict(x=1)


# -- timm -------------------------------------------------------------------


@pytest.fixture
def timm():
    return pytest.importorskip('timm')


SMALL = dict(
    type='mmpretrain.TIMMBackbone',
    model_name='vit_tiny_patch16_224',
    embed_dim=16,
    depth=2,
    num_heads=2,
    patch_size=14,
    dynamic_img_size=True,
)


@pytest.mark.parametrize('registers', [0, 4])
@pytest.mark.parametrize('pyramid', [True, False])
def test_a_transformer_of_timm(timm, registers, pyramid):
    """Its maps, or tokens behind class token and registers."""
    backbone = dict(SMALL, reg_tokens=registers)
    if pyramid:
        backbone.update(features_only=True, out_indices=[0, 1])
    model = build(backbone)
    images = torch.rand(1, 3, 64, 96)
    maps = model(images)
    assert model.patch_size == 14 and len(maps) == 1 + pyramid
    assert all(each.shape == (1, 16, 4, 6) for each in maps)
    if not pyramid:
        inner = model.backbone.timm_model
        small = model._resized(images, [4, 6])
        (wanted,) = inner.forward_intermediates(
            small, indices=1, norm=True, intermediates_only=True
        )
        torch.testing.assert_close(maps[0], wanted)


def test_maps_of_timm_with_channels_last(timm):
    model = build(
        dict(
            type='mmpretrain.TIMMBackbone',
            model_name='swin_tiny_patch4_window7_224',
            features_only=True,
            embed_dim=8,
            depths=(1, 1, 1, 1),
            num_heads=(1, 1, 1, 1),
        )
    )
    maps = model(torch.rand(1, 3, 224, 224))
    assert [each.shape[1] for each in maps] == [8, 16, 32, 64]


def test_weights_as_timm_saves_them(timm):
    model = build(SMALL)
    saved = timm.create_model(
        SMALL['model_name'],
        **{
            key: value
            for key, value in SMALL.items()
            if key not in ('type', 'model_name')
        },
    ).state_dict()
    assert model.own_state(saved).keys() == model.state_dict().keys()
