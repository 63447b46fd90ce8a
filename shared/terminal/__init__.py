"""The operator's commands, by what they work on."""
