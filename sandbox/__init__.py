"""Azure on one machine, out of real parts on loopback; never deployed."""
