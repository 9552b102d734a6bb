_base_ = 'mmdet::_base_/default_runtime.py'
default_hooks = dict(logger=dict(interval=25))
randomness = dict(seed=0)
