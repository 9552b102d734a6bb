# Half of the 64 cached boxes of digits_box_cache.py in each step, drawn anew:
# 32 of an image, as many as the student samples. It reads the cache that is
# written there, and its runs stand beside those.
_base_ = 'digits_box_cache.py'
runs = dict(
    _delete_=True,
    **{
        f'{name}_32': dict(
            _base_.runs[name],
            options={
                **_base_.runs[name].options,
                'model.teacher.boxes_per_step': 32,
            },
        )
        for name in ('luminet_cached', 'kd_cached')
    },
)
