"""What there is: entries, what is included, what is hashed."""
