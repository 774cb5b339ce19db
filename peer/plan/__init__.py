"""What shall happen: rules, actions, steps and their cost."""
