# COCO 2017 boxes in data/coco; the short side is one of six sizes.
_base_ = 'mmdet::_base_/datasets/coco_detection.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, side) for side in (640, 672, 704, 736, 768, 800)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=2,  # x 8 GPUs
    num_workers=4,
    # the schedule counts iterations, not epochs
    sampler=dict(type='InfiniteSampler'),
    dataset=dict(pipeline=train_pipeline),
)
# COCO's numbers, about three times as fast as CocoMetric
val_evaluator = dict(type='FasterCocoMetric')
test_evaluator = val_evaluator
