"""How the bytes of a plan travel."""
