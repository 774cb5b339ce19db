"""aioquic, bounded and bound: the QUIC connection without I/O."""
