# What turns the gain of distillation on RoIs into a loss? The student alone,
# KD and LumiNet as they should be (kd_right, luminet_right), and each with one
# mistake, which is named behind the method:
#
#   own_rois       the teacher scores RoIs of its own, matched by their index
#   other_rois     a second pass of the student's box head, on its best
#                  proposals without labels or ground truth; the teacher too
#   class_mean     the mean is over the columns as well: PyTorch's
#                  reduction='mean', an 11th of the weight
#   bgr_teacher    the teacher's images have red and blue exchanged
#   raw_teacher    the teacher's images are not normalised
#   train_teacher  the teacher is in train mode: its batch norms take the
#                  statistics of the batch
#   no_bg_column   softmax over the ten classes, without the background
#   no_bg_rows     only RoIs that are labelled as an object
#
# A second pass on the same RoIs is left out, since its gradient is the same
# (tests/analysis/test_roi_faults.py). Settings, warm-up and epochs are those
# of configs/kd_frcnn_digits.py and configs/luminet_frcnn_digits.py.
types = dict(
    own_rois='OwnRoIsDistiller',
    other_rois='OtherRoIsDistiller',
    train_teacher='TrainModeDistiller',
)
teachers = dict(bgr_teacher='bgr', raw_teacher='raw')
mistakes = dict(
    **{
        name: {'model.type': f'luminet_mm.{kind}'}
        for name, kind in types.items()
    },
    **{
        name: {
            'model.teacher.config': 'configs/_base_/models/'
            f'frcnn_teacher_digits_{file}.py'
        }
        for name, file in teachers.items()
    },
    class_mean={},
    no_bg_column={},
    no_bg_rows={},
)
losses = dict(
    kd=dict(type='luminet_mm.KDLoss', loss_weight=1.0),
    luminet=dict(type='luminet_mm.LumiNetLoss', loss_weight=4.0),
)


def loss(method, mistake):
    cfg = dict(losses[method], signal='roi.cls_score', tau=1.0)
    if mistake == 'class_mean':
        cfg['loss_weight'] /= 11
    elif mistake == 'no_bg_column':
        cfg['background'] = False
    elif mistake == 'no_bg_rows':
        cfg['rows'] = 'foreground'
        if method == 'luminet':
            cfg['stats_rows'] = 'foreground'
    return cfg


def run(config, options):
    return dict(
        config=config,
        seeds=[0, 1, 2, 3, 4],
        options={'train_cfg.val_interval': 3, **options},
    )


runs = dict(student=run('configs/frcnn_student_digits.py', {}))
for method in losses:
    runs[f'{method}_right'] = run(f'configs/{method}_frcnn_digits.py', {})
    for mistake, options in mistakes.items():
        runs[f'{method}_{mistake}'] = run(
            'configs/_base_/pairs/frcnn_digits_faults.py',
            {
                **options,
                f'model.distill.loss_{method}': loss(method, mistake),
                f'custom_hooks.1.loss_{method}.warmup': 50,
            },
        )
