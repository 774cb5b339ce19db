"""The join: how a candidate proves the password and receives the session key."""
