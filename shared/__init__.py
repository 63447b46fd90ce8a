"""Ebb: moves cold Azure Cosmos DB records to Parquet in the RU slack the business leaves."""
