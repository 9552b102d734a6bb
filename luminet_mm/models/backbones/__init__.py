"""Backbones from the papers that the zoos lack."""
