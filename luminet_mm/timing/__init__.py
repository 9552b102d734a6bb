"""Timing of steps, losses and processes, side by side."""
