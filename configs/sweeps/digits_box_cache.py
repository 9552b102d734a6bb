# Cached boxes against the live teacher on digits in scenes: LumiNet and KD,
# with one weight each, and the student alone; five seeds. First write the
# cache: python tools/cache_teacher.py
# configs/cached/luminet_cached_frcnn_digits.py --boxes 64
runs = {
    name: dict(
        config=f'configs/{config}_digits.py',
        seeds=[0, 1, 2, 3, 4],
        # only the last epoch counts
        options={'train_cfg.val_interval': 3},
    )
    for name, config in dict(
        student='frcnn_student',
        luminet='luminet_frcnn',
        kd='kd_frcnn',
        luminet_cached='cached/luminet_cached_frcnn',
        kd_cached='cached/kd_cached_frcnn',
    ).items()
}
