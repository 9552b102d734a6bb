"""Files from other people: read as data, never as code."""
