"""Keys of mdistiller and RepDistiller: all of them, and nothing else."""

from contextlib import ExitStack

import pytest
import torch
from cifar_nets import (
    assert_checksums,
    assert_maps,
    assert_one_step_trains_everything,
    golden_network,
)
from mdistiller_nets import (
    GOLDEN,
    TOLERANCE,
    golden_logits,
    logits,
    their_state_dict,
)

from luminet_mm.models.mdistiller import (
    NETWORKS,
    convert_state_dict,
    our_key,
)
from luminet_mm.signals.signal import tap_path


def test_every_network_of_the_golden_file():
    assert list(NETWORKS) == list(GOLDEN)


@pytest.mark.parametrize('name', NETWORKS)
def test_one_key_of_ours_for_each_of_theirs(name):
    keys = [key for key, _ in GOLDEN[name]['state_dict']]
    ours = {our_key(key, name) for key in keys}
    assert None not in ours and len(ours) == len(keys)


@pytest.mark.parametrize(
    ('name', 'theirs', 'ours'),
    [
        ('resnet20', 'fc.bias', 'head.fc.bias'),
        (
            'resnet8x4',
            'layer2.0.downsample.1.running_var',
            'backbone.layer2.0.shortcut.1.running_var',
        ),
        (
            'ResNet50',
            'layer4.0.shortcut.0.weight',
            'backbone.layer4.0.downsample.0.weight',
        ),
        (
            'wrn_40_2',
            'block3.layer.5.bn2.weight',
            'backbone.layer3.blocks.5.bn2.weight',
        ),
        ('vgg13', 'block4.3.bias', 'backbone.layer4.conv2.0.bias'),
        (
            'MobileNetV2',
            'blocks.4.2.conv.6.weight',
            'backbone.layer3.1.2.conv.6.weight',
        ),
        (
            'ShuffleV2',
            'layer1.0.bn4.bias',
            'backbone.layer1.0.branch2.1.bn.bias',
        ),
        (
            'ShuffleV2',
            'layer1.3.conv3.weight',
            'backbone.layer1.3.branch2.2.conv.weight',
        ),
        # another network's
        ('resnet20', 'linear.weight', None),
        ('vgg8', 'classifier.0.weight', None),
        ('resnet20', 'module.fc.bias', None),
    ],
)
def test_our_key(name, theirs, ours):
    assert our_key(theirs, name) == ours


def test_unknown_missing_and_misshaped_keys_are_named():
    state = their_state_dict('resnet8x4')
    state['extra.weight'] = torch.ones(1)
    state['layer1.1.conv1.weight'] = torch.ones(1)  # there is one block
    state['layer2.0.bn1.bias'] = torch.ones(64)
    del state['layer3.0.conv1.weight']
    with pytest.raises(ValueError) as error:
        convert_state_dict(state, 'resnet8x4')
    text = str(error.value)
    assert 'These are not the weights of resnet8x4: 4 entries differ.' in text
    for line in (
        'extra.weight: unknown',
        'layer1.1.conv1.weight: unknown',
        'layer2.0.bn1.bias: (64,) in the file, (128,) in resnet8x4',
        'backbone.layer3.0.conv1.0.weight: missing',
    ):
        assert f'\n  {line}' in text


@pytest.mark.parametrize(
    'shape', [(100,), (100, 64, 1), (), (99, 64), (100, 128)]
)
def test_misshaped_classifier(shape):
    state = their_state_dict('resnet20')
    state['fc.weight'] = torch.ones(shape)
    with pytest.raises(ValueError, match=r'fc.weight: \(.*\) in the file'):
        convert_state_dict(state, 'resnet20')


def test_missing_classifier():
    state = their_state_dict('vgg8')
    del state['classifier.weight'], state['classifier.bias']
    with pytest.raises(ValueError) as error:
        convert_state_dict(state, 'vgg8')
    for key in ('head.fc.weight', 'head.fc.bias'):
        assert f'{key}: missing' in str(error.value)


def test_other_networks_are_refused():
    for name, other in (
        ('resnet32x4', 'resnet8x4'),
        ('resnet20', 'resnet32'),
        ('wrn_40_2', 'wrn_40_1'),
        ('ShuffleV1', 'ShuffleV2'),
        ('vgg8', 'vgg13'),
    ):
        with pytest.raises(ValueError, match=f'not the weights of {other}'):
            convert_state_dict(their_state_dict(name), other)


def test_counters_that_old_files_lack():
    state = {
        key: value
        for key, value in their_state_dict('wrn_16_2').items()
        if not key.endswith('num_batches_tracked')
    }
    converted = convert_state_dict(state, 'wrn_16_2')
    assert len(converted) == GOLDEN['wrn_16_2']['num_state_tensors']
    assert converted['backbone.bn.num_batches_tracked'] == 0


# MMPretrain's own network, with mdistiller's weights


@pytest.fixture(scope='module')
def resnet50():
    return golden_network('ResNet50')


def test_resnet50_has_the_size_and_the_logits(resnet50):
    count = sum(p.numel() for p in resnet50.parameters())
    assert count == GOLDEN['ResNet50']['params']
    torch.testing.assert_close(
        logits(resnet50), golden_logits('ResNet50'), **TOLERANCE
    )


def test_resnet50_has_the_maps_but_the_stem(resnet50, monkeypatch):
    assert_maps('ResNet50', resnet50, monkeypatch, first=1)


def test_resnet50_before_its_last_relus(resnet50):
    expected = GOLDEN['ResNet50']['feature_checksums']['preact_feats'][1:]
    store, paths = {}, [f'backbone.layer{i}.preact' for i in (1, 2, 3, 4)]
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(tap_path(resnet50, path, store, path))
        logits(resnet50)
    assert_checksums([store[path] for path in paths], expected)


def test_resnet50_trains():
    assert_one_step_trains_everything('ResNet50')
