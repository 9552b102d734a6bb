"""Digits in scenes: data that are drawn from what scikit-learn ships."""
