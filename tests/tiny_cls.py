"""Small classifiers, images and labels that the tests share."""

import copy

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

NUM_CLASSES = 5
CLASSES = ('one', 'two', 'three', 'four', 'five')
_VIT = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


def classifier(kind='resnet', width=8, num_classes=NUM_CLASSES, **train_cfg):
    """A stock classifier's config for images of 32x32."""
    head = dict(num_classes=num_classes, loss=dict(type='CrossEntropyLoss'))
    model = dict(
        type='mmpretrain.ImageClassifier',
        data_preprocessor=dict(
            num_classes=num_classes,
            mean=[120.0, 110.0, 100.0],
            std=[60.0, 55.0, 50.0],
            to_rgb=True,
        ),
    )
    if train_cfg:
        model['train_cfg'] = train_cfg
    if kind == 'resnet':
        model.update(
            backbone=dict(
                type='mmpretrain.ResNet_CIFAR',
                depth=18,
                base_channels=width,
                stem_channels=width,
                out_indices=(0, 3),
            ),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(
                head, type='mmpretrain.LinearClsHead', in_channels=8 * width
            ),
        )
        return model
    distilled = kind == 'deit'
    arch = dict(_VIT, embed_dims=2 * width)
    model.update(
        backbone=dict(
            type='mmpretrain.'
            + (
                'DistilledVisionTransformer'
                if distilled
                else 'VisionTransformer'
            ),
            arch=arch,
            img_size=32,
            patch_size=8,
            drop_path_rate=0.1,
            drop_rate=0.1,
        ),
        head=dict(
            head,
            type='mmpretrain.'
            + ('DeiTClsHead' if distilled else 'VisionTransformerClsHead'),
            in_channels=2 * width,
            # by default zero: no gradient would reach the backbone
            init_cfg=dict(type='Normal', layer='Linear', std=0.1),
        ),
    )
    return model


def swin():
    """Its windows are of 7 x 7, so it takes no image below 224 pixels."""
    model = classifier()
    model['backbone'] = dict(
        type='mmpretrain.SwinTransformer',
        arch=dict(embed_dims=8, depths=[1] * 4, num_heads=[1] * 4),
        out_indices=(0, 3),
    )
    model['head']['in_channels'] = 64
    return model


def distiller(student=None, teacher=None, **distill):
    """A distiller's config; by default LumiNet on the logits."""
    if not isinstance(teacher, list):
        teacher = dict(
            config=dict(model=teacher or classifier(width=12)), checkpoint=None
        )
    return dict(
        student or classifier(),
        type='luminet_mm.ClassifierDistiller',
        teacher=teacher,
        distill=distill
        or dict(
            loss_luminet=dict(type='luminet_mm.LumiNetLoss', signal='logits')
        ),
    )


def build(model, seed=0):
    """Build and initialise with a fixed seed."""
    torch.manual_seed(seed)
    # whatever scope an earlier test left
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(Config(dict(model=copy.deepcopy(model))).model)
    torch.manual_seed(seed)
    model.init_weights()
    return model.train()


def batch(num_images=8, seed=0, size=32):
    """Raw images and labels, as a data loader gives them."""
    generator = torch.Generator().manual_seed(seed)
    inputs, samples = [], []
    for _ in range(num_images):
        inputs.append(
            torch.randint(0, 256, (3, size, size), generator=generator).byte()
        )
        label = torch.randint(0, NUM_CLASSES, (1,), generator=generator)
        sample = DataSample(
            metainfo=dict(img_shape=(size, size), num_classes=NUM_CLASSES)
        )
        samples.append(sample.set_gt_label(label))
    return dict(inputs=inputs, data_samples=samples)


def prepared(model, training=True, **kwargs):
    """A batch after the model's data preprocessor."""
    return model.data_preprocessor(batch(**kwargs), training)


def step(model, seed=0):
    """One pass forward and back; the losses, and what is logged."""
    data = prepared(model, seed=seed)
    torch.manual_seed(seed)
    losses = model.loss(data['inputs'], data['data_samples'])
    total, logged = model.parse_losses(losses)
    total.backward()
    return losses, logged


class ToyDataset(torch.utils.data.Dataset):
    """The images of `batch`, as a data set that a Runner can train on."""

    def __init__(self, length=16, classes=CLASSES):
        raw = batch(num_images=length, seed=11)
        self.items = [
            dict(inputs=image, data_samples=sample)
            for image, sample in zip(raw['inputs'], raw['data_samples'])
        ]
        self.metainfo = dict(classes=classes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return copy.deepcopy(self.items[index])


def runner(model, work_dir, max_epochs=2, **kwargs):
    """A Runner on the toy data: 4 iterations an epoch."""
    loader = dict(
        batch_size=4,
        num_workers=0,
        dataset=ToyDataset(),
        collate_fn=dict(type='pseudo_collate'),
    )
    config = dict(
        model=Config(dict(model=copy.deepcopy(model))).model,
        work_dir=str(work_dir),
        default_scope='mmpretrain',
        experiment_name=str(work_dir).replace('/', '_'),
        train_dataloader=dict(
            loader, sampler=dict(type='DefaultSampler', shuffle=True)
        ),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=1),
        ),
        randomness=dict(seed=7),
        log_level='WARNING',
    )
    config.update(kwargs)
    return Runner(**config)


def validation():
    """Arguments of `runner` that add a validation set."""
    return dict(
        val_dataloader=dict(
            batch_size=4,
            num_workers=0,
            dataset=ToyDataset(8),
            collate_fn=dict(type='pseudo_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        val_cfg=dict(),
        val_evaluator=dict(type='Accuracy', topk=(1,)),
    )


def lora(init_cfg=None):
    """A transformer of which LoRA trains and saves a small part."""
    arch = dict(
        embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8
    )
    transformer = dict(
        type='VisionTransformer',
        arch=arch,
        img_size=16,
        patch_size=8,
        init_cfg=init_cfg,
    )
    backbone = dict(
        type='LoRAModel',
        module=transformer,
        alpha=2,
        rank=2,
        targets=[dict(type='qkv')],
    )
    head = dict(type='VisionTransformerClsHead', num_classes=3, in_channels=8)
    return dict(type='ImageClassifier', backbone=backbone, head=head)


def simkd(teacher=None, channels=96):
    """SimKD's config; the last maps have 64 and 96 channels."""
    student = classifier()
    student['neck'] = [
        dict(
            type='luminet_mm.SimKDNeck', in_channels=64, out_channels=channels
        ),
        dict(type='mmpretrain.GlobalAveragePooling'),
    ]
    student['head'].update(
        type='luminet_mm.ReusedClsHead',
        in_channels=channels,
        loss=dict(type='CrossEntropyLoss', loss_weight=0.0),
    )
    return distiller(
        student,
        teacher,
        loss_simkd=dict(
            type='luminet_mm.SimKDLoss',
            student='neck.0',
            teacher='backbone',
            levels=[-1],
            factor=None,
        ),
    )
