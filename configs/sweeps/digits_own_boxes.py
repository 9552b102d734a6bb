# Boxes of each image that the live teacher chooses, 64 or as many as the
# student samples, against the student's RoIs and cached boxes: its runs stand
# beside those of digits_box_cache.py, and have their weights. Five seeds.
_base_ = 'digits_box_cache.py'
runs = dict(
    _delete_=True,
    **{
        f'{name}_own_{count}': dict(
            _base_.runs[name],
            options={
                **_base_.runs[name].options,
                'model.teacher.boxes_per_step': count,
            },
        )
        for name in ('luminet', 'kd')
        for count in (64, 32)
    },
)
