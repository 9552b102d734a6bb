"""LumiNet on digits in scenes, from cached boxes: the teacher does not run.

Needs    the teacher's answers: python tools/cache_teacher.py
         configs/cached/luminet_cached_frcnn_digits.py --boxes 64
         The data are made on first use, the teacher is in weights/.
Run      python tools/train.py configs/cached/luminet_cached_frcnn_digits.py
Derived  tau and loss_weight are those of luminet_frcnn_digits.py. 64 boxes are
         twice as many as the student samples; not searched.
"""

_base_ = '../luminet_frcnn_digits.py'
model = dict(teacher=dict(cache='work_dirs/digits_boxes'))
