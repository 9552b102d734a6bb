"""Start a run from a tool, watch it and end it."""
