"""Teachers: what they are and how they see images."""
