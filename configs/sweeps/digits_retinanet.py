# The result table of the digits' RetinaNet student and RetinaNet teacher: five
# seeds of the student alone and of each method, with the settings in its
# config, and of another form of LumiNet. Only the last epoch counts. Train
# configs/one_stage/retinanet_teacher_digits.py first.
last = {'train_cfg.val_interval': 6}
names = (
    'retinanet_student',
    'binary_kd_retinanet',
    'bckd_retinanet',
    'crosskd_retinanet',
    'luminet_retinanet',
    'fgfi_retinanet',
    'pkd_retinanet',
)
runs = {
    name: dict(
        config=f'configs/one_stage/{name}_digits.py',
        seeds=[0, 1, 2, 3, 4],
        options=last,
    )
    for name in names
}
runs['luminet_retinanet_softmax'] = dict(
    config='configs/one_stage/luminet_retinanet_digits.py',
    seeds=[0, 1, 2, 3, 4],
    options={
        **last,
        'model.distill.loss_luminet.form': 'softmax',
        'model.distill.loss_luminet.loss_weight': 0.5,
    },
)
