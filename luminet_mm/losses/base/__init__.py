"""Shared by the losses: weights, rows, features, checks."""
