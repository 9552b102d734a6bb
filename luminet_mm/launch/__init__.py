"""How the tools start a run, watch it and end it."""
