"""Necks that some methods add to a classifier."""
