"""The local file systems, reached only through confined roots."""
