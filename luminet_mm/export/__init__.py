"""A student without MMEngine: ONNX and TorchScript files, and a comparison."""

from luminet_mm.export.formats import FORMATS, Exported, export
from luminet_mm.export.parts import Part, parts_of
from luminet_mm.export.student import load_student

__all__ = ['FORMATS', 'Exported', 'Part', 'export', 'load_student', 'parts_of']
