r"""LumiNet: R101 teaches R18 on COCO from cached boxes, and is not run.

Needs    COCO 2017 in data/coco (tools/prepare_coco.py says what is missing),
         and the teacher's answers, 12.1 GB:
         torchrun --nproc_per_node 8 tools/cache_teacher.py --launcher pytorch
         configs/cached/luminet_cached_frcnn_r101_r18_coco.py
         Downloaded on first use: the teacher (41.8 AP, MMDetection's zoo) and
         torchvision's ResNet-18.
Run      tools/dist_train.sh \
         configs/cached/luminet_cached_frcnn_r101_r18_coco.py 8
Paper    none; with a live teacher AP 35.34 (LumiNet, Table 4). Not run here
         yet.
Derived  tau, loss_weight and warm-up, as in luminet_frcnn_r101_r18_coco.py.
         The teacher sees each image at 1333 x 800 alone, the student at six
         sizes.
"""

_base_ = '../luminet_frcnn_r101_r18_coco.py'
model = dict(teacher=dict(cache='work_dirs/coco_r101_boxes'))
# a cached teacher is not scored
custom_hooks = [
    dict(type='luminet_mm.TeacherCheckHook', evaluate=False),
    *_base_.custom_hooks[1:],
]
