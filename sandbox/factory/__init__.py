"""A Data Factory that runs the deployed JSON against the sandbox's account and storage."""
