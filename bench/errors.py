"""What a bench raises when it has nothing to report."""


class BenchError(Exception):
    """A measurement could not be made; the message says why and what to do."""
