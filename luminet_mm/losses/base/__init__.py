"""What the losses share: weights, rows, features, checks."""
