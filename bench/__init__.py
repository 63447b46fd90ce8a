"""Measures Ebb on this machine against what is possible and against what people would do instead."""
