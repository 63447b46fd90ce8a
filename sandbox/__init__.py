"""Azure on one machine, out of real parts on loopback; never deployed, and no part of the product imports it."""
