"""A Cosmos DB account on loopback: a real SQL engine behind a meter that charges, throttles and fails."""
