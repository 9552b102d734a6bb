"""A run's folder, checkpoints and logs, and how to resume from them."""
