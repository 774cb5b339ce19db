"""Which path leads to another member."""
