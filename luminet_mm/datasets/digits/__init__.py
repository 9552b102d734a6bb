"""Scenes with digits, drawn from data that scikit-learn ships."""
