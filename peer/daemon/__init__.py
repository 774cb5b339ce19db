"""Builds the cores and shells, connects them and owns their lifetimes; decides nothing."""
