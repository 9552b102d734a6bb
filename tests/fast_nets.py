"""Small frozen networks, and what makes them fast."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from luminet_mm.teachers.form import Form
from luminet_mm.teachers.speed import Speed, fit, prepare


def norms(module):
    return [m for m in module.modules() if isinstance(m, _BatchNorm)]


def trained(model):
    """Weights and statistics that are not those of the start."""
    generator = torch.Generator().manual_seed(0)
    for norm in norms(model):
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            nn.init.uniform_(tensor, -1, 1, generator=generator)
        nn.init.uniform_(norm.running_var, 0.5, 2, generator=generator)
    return model.eval().requires_grad_(False)


class Net(nn.Module):
    """A network with nothing but a backbone."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        return self.backbone(x)


def answers(net, size=16, width=None):
    image = torch.randn(
        2,
        3,
        size,
        width or size,
        generator=torch.Generator().manual_seed(1),
    )
    return lambda: net(image)


def made_fast(net, ask, **options):
    """Both halves, as a distiller on a CPU does them; what they said."""
    speed, form = Speed(**options), Form()
    said = prepare(net, ask, speed, form)
    return said, fit(net, ask, speed, form, torch.device('cpu'))


def simple():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3)
    )
