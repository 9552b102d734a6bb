# What a step costs on boxes that the live teacher chooses, beside the RoIs
# that the student samples; to be timed and not run:
#   python -m luminet_mm.timing.step_times \
#       configs/sweeps/digits_own_boxes_cost.py \
#       --batch-size 8 --image-size 160 160 --repeat 3 --rounds 14 --threads 1
_base_ = 'digits_box_cache.py'
own = {'model.teacher.boxes_per_step': 32}
more = {'model.teacher.boxes_per_step': 64}
runs = dict(
    _delete_=True,
    student=_base_.runs.student,
    luminet=_base_.runs.luminet,
    luminet_own_32=dict(_base_.runs.luminet, options=own),
    luminet_own_64=dict(_base_.runs.luminet, options=more),
)
