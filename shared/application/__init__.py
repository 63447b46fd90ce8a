"""What Ebb does, written against ports: no cloud library, clock or environment is known here."""
