"""The closed loop of the pacing law and its rivals over recorded loads; see `command.py`."""
