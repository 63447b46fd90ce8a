"""A Cosmos DB account on loopback: a real SQL engine behind a meter; it persists nothing."""
