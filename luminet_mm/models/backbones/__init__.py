"""Backbones: the networks of the papers that the zoos lack."""
