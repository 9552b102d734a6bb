"""Files that others wrote: read as data, never as code."""
