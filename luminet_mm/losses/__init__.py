"""Distillation losses: one method, one file."""

from luminet_mm.losses.base import DistillBatch, LogitLoss
from luminet_mm.losses.dist import DISTLoss, dist_loss
from luminet_mm.losses.dkd import DKDLoss, dkd_loss
from luminet_mm.losses.kd import KDLoss, kd_loss
from luminet_mm.losses.logit_standardization import LogitStandardizationKDLoss
from luminet_mm.losses.luminet import LumiNetLoss, luminet_loss, perception

__all__ = [
    'DISTLoss',
    'DKDLoss',
    'DistillBatch',
    'KDLoss',
    'LogitLoss',
    'LogitStandardizationKDLoss',
    'LumiNetLoss',
    'dist_loss',
    'dkd_loss',
    'kd_loss',
    'luminet_loss',
    'perception',
]
