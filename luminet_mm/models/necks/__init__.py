"""Necks that some methods put into a classifier."""
