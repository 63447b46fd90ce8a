"""The trial: checks, on an account of the user's own, what Ebb relies on; it moves no data."""
