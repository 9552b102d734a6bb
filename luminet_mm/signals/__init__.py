"""Signals: what a model computes, by name; one file per family."""
