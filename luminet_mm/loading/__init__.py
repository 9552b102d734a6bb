"""Load weights, data and configs from others, checked and without code."""
