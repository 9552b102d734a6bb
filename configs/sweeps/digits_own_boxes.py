# 64 boxes of each image that the live teacher chooses, against the RoIs that
# the student samples and cached boxes: its runs stand beside those of
# digits_box_cache.py, and have their weights. Five seeds.
_base_ = 'digits_box_cache.py'
runs = dict(
    _delete_=True,
    **{
        f'{name}_own_64': dict(
            _base_.runs[name],
            options={
                **_base_.runs[name].options,
                'model.teacher.boxes_per_step': 64,
            },
        )
        for name in ('luminet', 'kd')
    },
)
