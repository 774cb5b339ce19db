"""The one I/O shell both programs share: UDP sockets and the QUIC connections on them."""
