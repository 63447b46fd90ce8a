"""The ports' real and in-memory implementations; each speaks to one outside thing."""
