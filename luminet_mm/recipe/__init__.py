"""From a folder of data to a distilled model: `tools/distill.py`."""
