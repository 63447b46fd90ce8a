"""What a trial asks the services, grouped as docs/fidelity.md is."""
