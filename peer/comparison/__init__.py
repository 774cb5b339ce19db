"""What differs: items, content groups, statuses."""
