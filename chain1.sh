. /tmp/save/c/run.sh; cd /work/wt-save
python tools/train.py /tmp/save/c/gfl2t.py --work-dir /tmp/save/w/gfl2t --cfg-options train_cfg.max_epochs=1 > /tmp/save/gfl2t.log 2>&1; echo rc $? >> /tmp/save/gfl2t.log
python tools/train.py /tmp/save/c/gfl2d.py --work-dir /tmp/save/w/gfl2d --cfg-options train_cfg.max_epochs=1 default_hooks.logger.interval=1 > /tmp/save/gfl2d.log 2>&1; echo rc $? >> /tmp/save/gfl2d.log
python tools/train.py /tmp/save/c/gfl2d.py --work-dir /tmp/save/w/gfl2d --resume --cfg-options train_cfg.max_epochs=2 default_hooks.logger.interval=1 optim_wrapper.accumulative_counts=2 > /tmp/save/gfl2r.log 2>&1; echo rc $? >> /tmp/save/gfl2r.log
python tools/train.py /tmp/save/c/retd.py --work-dir /tmp/save/w/retd --cfg-options train_cfg.max_epochs=1 train_dataloader.dataset.num_images=16 default_hooks.logger.interval=1 > /tmp/save/retd.log 2>&1; echo rc $? >> /tmp/save/retd.log
