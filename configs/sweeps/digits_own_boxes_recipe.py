# What tools/distill.py trains, LumiNet, the teacher's boxes and its RPN, on
# the student's RoIs and on boxes that the live teacher chooses. Five seeds.
_base_ = 'digits_boxes.py'
recipe = _base_.runs['luminet_boxes_auto_1_3_rpn']
runs = dict(
    _delete_=True,
    recipe=recipe,
    recipe_own_64=dict(
        recipe,
        options={**recipe['options'], 'model.teacher.boxes_per_step': 64},
    ),
)
