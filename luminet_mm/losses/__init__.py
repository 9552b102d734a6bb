"""Distillation losses: one method, one file."""

from luminet_mm.connectors import make_connector
from luminet_mm.losses.ab import ABLoss, ab_loss
from luminet_mm.losses.at import ATLoss, attention_loss
from luminet_mm.losses.base.batch import DistillBatch, Points
from luminet_mm.losses.base.ctkd import CTKD
from luminet_mm.losses.base.dense import DenseLoss
from luminet_mm.losses.base.feature import FeatureLoss
from luminet_mm.losses.base.logit import LogitLoss
from luminet_mm.losses.base.loss import DistillLoss
from luminet_mm.losses.base.queries import Decoder, QueryLoss
from luminet_mm.losses.bckd import BCKDLoss, binary_kd_rows
from luminet_mm.losses.binary_kd import BinaryKDLoss, binary_kl
from luminet_mm.losses.cc import CCLoss, cc_loss
from luminet_mm.losses.crd import CRDLoss, crd_loss
from luminet_mm.losses.crosskd import CrossKDLoss
from luminet_mm.losses.crosskd_align import align_channels
from luminet_mm.losses.cwd import CWDLoss, cwd_loss
from luminet_mm.losses.dense_luminet import DenseLumiNetLoss
from luminet_mm.losses.detrdistill import DETRDistillLoss, detrdistill_loss
from luminet_mm.losses.dist import DISTLoss, dist_loss
from luminet_mm.losses.dist_plus import DISTPlusLoss
from luminet_mm.losses.dkd import DKDLoss, dkd_loss
from luminet_mm.losses.fcfd import FCFDLoss
from luminet_mm.losses.fcfd_roi import FCFDRoILoss
from luminet_mm.losses.fgd import FGDLoss, fgd_loss
from luminet_mm.losses.fgfi import FGFILoss, fgfi_loss
from luminet_mm.losses.fitnet import FitNetLoss, hint_loss
from luminet_mm.losses.fsp import FSPLoss, fsp_loss
from luminet_mm.losses.hard_label import HardLabelLoss, hard_label_loss
from luminet_mm.losses.kd import KDLoss, kd_loss
from luminet_mm.losses.kd_detr import KDDETRLoss, kd_detr_loss
from luminet_mm.losses.ld import LDLoss, side_kl
from luminet_mm.losses.ld_region import near_misses
from luminet_mm.losses.ldrld import LDRLDLoss, ldrld_loss
from luminet_mm.losses.logit_standardization import LogitStandardizationKDLoss
from luminet_mm.losses.luminet import LumiNetLoss, luminet_loss, perception
from luminet_mm.losses.mask_kd import MaskKDLoss, mask_kd_loss
from luminet_mm.losses.maskd import MasKDLoss, maskd_loss
from luminet_mm.losses.mgd import MGDLoss, mgd_loss
from luminet_mm.losses.mlld import MLLDLoss, mlld_loss
from luminet_mm.losses.nkd import NKDLoss, nkd_loss
from luminet_mm.losses.norm import NORMLoss, norm_loss
from luminet_mm.losses.normkd import NormKDLoss, normkd_loss
from luminet_mm.losses.nst import NSTLoss, nst_loss
from luminet_mm.losses.ofd import OFDLoss, gaussian_margins, ofd_loss
from luminet_mm.losses.pkd import PKDLoss, pkd_loss
from luminet_mm.losses.pkt import PKTLoss, pkt_loss
from luminet_mm.losses.reviewkd import ReviewKDLoss, hcl_loss
from luminet_mm.losses.rkd import RKDLoss, rkd_loss
from luminet_mm.losses.rld import RLDLoss, rld_loss
from luminet_mm.losses.roi_box import RoIBoxLoss
from luminet_mm.losses.sdd import SDDLoss, sdd_loss
from luminet_mm.losses.semckd import SemCKDLoss, semckd_loss
from luminet_mm.losses.simkd import SimKDLoss
from luminet_mm.losses.skd import SKDLoss, skd_loss
from luminet_mm.losses.sp import SPLoss, similarity_loss
from luminet_mm.losses.srd import SRDLoss, srd_loss
from luminet_mm.losses.token_hint import TokenHintLoss, token_hint_loss
from luminet_mm.losses.ttm import TTMLoss, WTTMLoss, ttm_loss
from luminet_mm.losses.uskd import USKDLoss, uskd_loss
from luminet_mm.losses.vid import VIDLoss, vid_loss
from luminet_mm.losses.vitkd import ViTKDLoss
from luminet_mm.losses.vkd import VkDLoss, vkd_loss
from luminet_mm.losses.wsld import WSLDLoss, wsld_loss

__all__ = [
    'CTKD',
    'ABLoss',
    'ATLoss',
    'BCKDLoss',
    'BinaryKDLoss',
    'CCLoss',
    'CRDLoss',
    'CrossKDLoss',
    'CWDLoss',
    'DETRDistillLoss',
    'DISTLoss',
    'DISTPlusLoss',
    'DKDLoss',
    'Decoder',
    'DenseLoss',
    'DenseLumiNetLoss',
    'DistillBatch',
    'Points',
    'binary_kd_rows',
    'binary_kl',
    'DistillLoss',
    'FCFDLoss',
    'FCFDRoILoss',
    'FGDLoss',
    'FGFILoss',
    'FSPLoss',
    'FeatureLoss',
    'FitNetLoss',
    'HardLabelLoss',
    'KDDETRLoss',
    'KDLoss',
    'LDLoss',
    'LDRLDLoss',
    'LogitLoss',
    'LogitStandardizationKDLoss',
    'LumiNetLoss',
    'MasKDLoss',
    'MGDLoss',
    'MaskKDLoss',
    'MLLDLoss',
    'NKDLoss',
    'NORMLoss',
    'NSTLoss',
    'NormKDLoss',
    'OFDLoss',
    'PKDLoss',
    'PKTLoss',
    'QueryLoss',
    'RKDLoss',
    'RLDLoss',
    'ReviewKDLoss',
    'RoIBoxLoss',
    'SDDLoss',
    'SKDLoss',
    'SPLoss',
    'SRDLoss',
    'SemCKDLoss',
    'SimKDLoss',
    'TTMLoss',
    'TokenHintLoss',
    'USKDLoss',
    'VIDLoss',
    'ViTKDLoss',
    'VkDLoss',
    'WSLDLoss',
    'WTTMLoss',
    'ab_loss',
    'align_channels',
    'attention_loss',
    'cc_loss',
    'crd_loss',
    'cwd_loss',
    'detrdistill_loss',
    'dist_loss',
    'dkd_loss',
    'fgd_loss',
    'fgfi_loss',
    'fsp_loss',
    'gaussian_margins',
    'hard_label_loss',
    'hcl_loss',
    'hint_loss',
    'kd_detr_loss',
    'kd_loss',
    'ldrld_loss',
    'luminet_loss',
    'make_connector',
    'mask_kd_loss',
    'maskd_loss',
    'mgd_loss',
    'mlld_loss',
    'near_misses',
    'nkd_loss',
    'norm_loss',
    'normkd_loss',
    'nst_loss',
    'ofd_loss',
    'perception',
    'pkd_loss',
    'pkt_loss',
    'rkd_loss',
    'rld_loss',
    'sdd_loss',
    'semckd_loss',
    'side_kl',
    'similarity_loss',
    'skd_loss',
    'srd_loss',
    'token_hint_loss',
    'ttm_loss',
    'uskd_loss',
    'vid_loss',
    'vkd_loss',
    'wsld_loss',
]
