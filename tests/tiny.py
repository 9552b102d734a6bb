"""Small detectors, images and annotations that the tests share."""

import copy
from functools import cache

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hub import get_config
from mmengine.registry import METRICS, MODELS, DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData

CLASSES = ('cat', 'dog', 'hen', 'cow')
_CONFIGS = dict(
    faster='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    mask='mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    cascade='mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    cascade_mask='mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    htc='mmdet::htc/htc-without-semantic_r50_fpn_1x_coco.py',
    semantic='mmdet::htc/htc_r50_fpn_1x_coco.py',
)


@cache
def _stock(kind):
    return get_config(_CONFIGS[kind]).model


def detector(kind='faster', depth=18, width=8, num_classes=4):
    """A stock detector's config, narrow enough for a step in 0.1 s."""
    model = copy.deepcopy(_stock(kind))
    channels = [width, width * 2, width * 4, width * 8]
    if depth >= 50:
        channels = [c * 4 for c in channels]
    model.backbone.update(
        depth=depth,
        base_channels=width,
        init_cfg=None,
        frozen_stages=-1,
        stem_channels=width,
    )
    model.neck.update(in_channels=channels, out_channels=16)
    model.rpn_head.update(in_channels=16, feat_channels=16)
    roi_head = model.roi_head
    roi_head.bbox_roi_extractor.out_channels = 16
    heads = roi_head.bbox_head
    for head in heads if isinstance(heads, list) else [heads]:
        head.update(
            in_channels=16, fc_out_channels=32, num_classes=num_classes
        )
    if 'mask_head' in roi_head:
        roi_head.mask_roi_extractor.out_channels = 16
        heads = roi_head.mask_head
        for head in heads if isinstance(heads, list) else [heads]:
            head.update(
                in_channels=16, conv_out_channels=16, num_classes=num_classes
            )
    if 'semantic_head' in roi_head:
        roi_head.semantic_roi_extractor.out_channels = 16
        roi_head.semantic_head.update(in_channels=16, conv_out_channels=16)
    rcnn = model.train_cfg.rcnn
    for stage in rcnn if isinstance(rcnn, list) else [rcnn]:
        stage.sampler.num = 32
    model.train_cfg.rpn_proposal.update(nms_pre=100, max_per_img=50)
    model.test_cfg.rpn.update(nms_pre=100, max_per_img=50)
    return model


def distiller(student=None, teacher=None, checkpoint=None, **distill):
    """A distiller's config; by default LumiNet on the RoI logits."""
    model = student or detector()
    model.type = 'luminet_mm.TwoStageDistiller'
    model.teacher = dict(
        config=dict(model=teacher or detector(width=12)), checkpoint=checkpoint
    )
    model.distill = distill or dict(
        loss_luminet=dict(
            type='luminet_mm.LumiNetLoss', signal='roi.cls_score'
        )
    )
    return model


LOGITS = dict(
    faster=['roi.cls_score'],
    mask=['roi.cls_score'],
    cascade=[f'roi.{stage}.cls_score' for stage in range(3)],
)


def logit_losses(kind='faster', type='luminet_mm.LumiNetLoss', **kwargs):
    """``loss_0``, ...: a loss for the logits of each RoI stage."""
    return {
        f'loss_{index}': dict(type=type, signal=signal, **kwargs)
        for index, signal in enumerate(LOGITS[kind])
    }


def of_logits(kind='faster', teacher=None, fold_bn=True, **kwargs):
    """A distiller, built, with a loss for the logits of each RoI stage."""
    cfg = distiller(
        detector(kind),
        teacher or detector(kind, width=12),
        **logit_losses(kind, **kwargs),
    )
    cfg.teacher.fold_bn = fold_bn
    return build(cfg)


def build(model, seed=0):
    """Build and initialise with a fixed seed."""
    torch.manual_seed(seed)
    # whatever scope an earlier test left
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(Config(dict(model=model)).model)
    torch.manual_seed(seed)
    model.init_weights()
    return model.train()  # the norm layers' mode follows the config


def batch(num_images=2, size=64, seed=0, masks=False):
    """Raw images and annotations, as a data loader gives them."""
    generator = torch.Generator().manual_seed(seed)
    inputs, samples = [], []
    for index in range(num_images):
        height, width = size, size - 16 * (index % 2)
        inputs.append(
            torch.randint(
                0, 256, (3, height, width), generator=generator
            ).byte()
        )
        corner = torch.rand(3, 2, generator=generator) * size / 3
        extent = torch.rand(3, 2, generator=generator) * size / 4 + 8
        instances = InstanceData(
            bboxes=torch.cat([corner, corner + extent], 1),
            labels=torch.randint(0, len(CLASSES), (3,), generator=generator),
        )
        if masks:
            from mmdet.structures.mask import BitmapMasks

            instances.masks = BitmapMasks(
                torch.ones(3, height, width).numpy().astype('uint8'),
                height,
                width,
            )
        samples.append(
            DetDataSample(
                gt_instances=instances,
                metainfo=dict(
                    img_shape=(height, width),
                    ori_shape=(height, width),
                    scale_factor=(1.0, 1.0),
                    img_id=index,
                    pad_shape=(height, width),
                ),
            )
        )
    return dict(inputs=inputs, data_samples=samples)


def prepared(model, training=True, **kwargs):
    """A batch after the model's data preprocessor."""
    return model.data_preprocessor(batch(**kwargs), training)


def step(model, seed=0, masks=False):
    """One pass forward and back; the losses, and what is logged."""
    data = prepared(model, seed=seed, masks=masks)
    torch.manual_seed(seed)
    losses = model.loss(data['inputs'], data['data_samples'])
    total, logged = model.parse_losses(losses)
    total.backward()
    return losses, logged


class ToyDataset(torch.utils.data.Dataset):
    """The images of `batch`, as a data set that a Runner can train on."""

    def __init__(self, length=8, classes=CLASSES):
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


@METRICS.register_module(force=True)
class CountMetric(BaseMetric):
    """Fraction of images with any detection: a metric without a file."""

    def process(self, data_batch, data_samples):
        self.results += [
            len(sample['pred_instances']['scores']) > 0
            for sample in data_samples
        ]

    def compute_metrics(self, results):
        return dict(found=sum(results) / len(results))


def runner(model, work_dir, max_epochs=2, **kwargs):
    """A Runner on the toy data: 4 iterations an epoch."""
    loader = dict(
        batch_size=2,
        num_workers=0,
        dataset=ToyDataset(),
        collate_fn=dict(type='pseudo_collate'),
    )
    config = dict(
        model=Config(dict(model=model)).model,
        work_dir=str(work_dir),
        default_scope='mmdet',
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
            batch_size=2,
            num_workers=0,
            dataset=ToyDataset(4),
            collate_fn=dict(type='pseudo_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        val_cfg=dict(),
        val_evaluator=dict(type='mmengine.CountMetric'),
    )
