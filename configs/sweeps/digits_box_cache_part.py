# As digits_box_cache.py, and beside it half of the 64 cached boxes in each
# step, drawn anew: 32 of an image, as many as the student samples. The cache
# is the one that is written there.
_base_ = 'digits_box_cache.py'
runs = {
    f'{name}_32': dict(
        _base_.runs[name],
        options={
            **_base_.runs[name].options,
            'model.teacher.boxes_per_step': 32,
        },
    )
    for name in ('luminet_cached', 'kd_cached')
}
