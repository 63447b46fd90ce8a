"""The words and laws of Ebb: pure values and functions that touch nothing outside themselves."""
