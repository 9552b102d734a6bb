# What a step of digits_own_boxes_recipe.py costs, on the student's RoIs and on
# boxes that the live teacher chooses; to be timed and not run:
#   python -m luminet_mm.timing.step_times \
#       configs/sweeps/digits_own_boxes_recipe_cost.py \
#       --batch-size 8 --image-size 160 160 --repeat 3 --rounds 14 --threads 1
_base_ = 'digits_own_boxes_recipe.py'
runs = dict(
    student=dict(config='configs/frcnn_student_digits.py', seeds=[0]),
)
