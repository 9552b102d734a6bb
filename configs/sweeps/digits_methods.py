# Every method for two-stage detectors on equal terms: digits in scenes, as in
# configs/kd_frcnn_digits.py, two seeds, 50 steps of warm-up for all.
#
# FSP, PKD and DIST+ are left out, since they need equal channels: the pyramids
# have 40 and 32. The first have weights for Faster R-CNN from their papers or,
# KD and DKD, from mdistiller. LumiNet has none: its tau and weight are the
# best of those tried here (docs/results.md).
#
# No weight was published for most of the others. One rule for all: the options
# of the paper, of its setting for ImageNet if it has one, and the weight, to
# one digit, at which the loss's gradient in backbone and neck is as long as
# that of the detector's own losses, as it is for KD and DKD:
#   python -m luminet_mm.analysis.gradients \
#       configs/sweeps/digits_methods.py --steps 2
# Published are those of KD, DKD, DIST, ReviewKD, CWD, MGD, FGD, FGFI and FCFD.
#
# Settings are on the cards of the losses, as `uses['detector']`.
from importlib import import_module

losses = import_module('luminet_mm.methods').compared('detector')
runs = dict(
    student=dict(
        config='configs/frcnn_student_digits.py',
        seeds=[0, 1],
        options={'train_cfg.val_interval': 3},
    ),
    **{
        name: dict(
            config='configs/_base_/pairs/frcnn_digits_methods.py',
            seeds=[0, 1],
            options={
                'train_cfg.val_interval': 3,
                f'model.distill.loss_{name}': loss,
                f'custom_hooks.1.loss_{name}.warmup': 50,
            },
        )
        for name, loss in losses.items()
    },
)
