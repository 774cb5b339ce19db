"""Who is in the session, in which phase, with which rights."""
