"""Measures Ebb on this machine, against what is possible and against what people do instead."""
