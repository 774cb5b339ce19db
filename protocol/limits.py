"""Every bound of the wire, with its unit and its reason."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

MAX_MEMBERS: Final = 5
"""Members of one session (product.md, section 2.2)."""

# --- frames and messages ------------------------------------------------------

MAX_JOIN_FRAME: Final = 8 * KIB
"""Bytes of one J or L frame's body: the largest, J7, holds a roster of five (security.md, T18)."""

MAX_CONTROL_PLAINTEXT: Final = 256 * KIB
"""Bytes of one control record's plaintext (security.md, section 3.8)."""

MAX_RENDEZVOUS_FRAME: Final = 16 * KIB
"""Bytes of one message to or from the node: two offers of 16 addresses with room to spare."""

MAX_NAME: Final = 64
"""Characters of a machine's or a person's name."""

MAX_EMAIL: Final = 254
"""Characters of an e-mail address (RFC 5321, section 4.5.3.1.3, less the brackets)."""

MAX_ADDRESSES: Final = 16
"""Candidate addresses of one member (security.md, T25)."""

# --- paths and inventories (security.md, T15 and T17) --------------------------

MAX_COMPONENT: Final = 255
"""Bytes of one path component: NAME_MAX of the common file systems."""

MAX_PATH: Final = 4096
"""Bytes of a relative path, separators included: PATH_MAX."""

MAX_DEPTH: Final = 128
"""Components of a relative path."""

MAX_ENTRIES: Final = 2_000_000
"""Entries of one member's inventory."""

MAX_INVENTORY_BYTES: Final = 2 * GIB
"""Bytes of one member's inventory: paths as sent, a fixed cost per entry, hashes (T17)."""

MAX_BATCH: Final = 2_000
"""Entries, skips or hashes in one message of a streamed inventory."""

MAX_SOURCES: Final = 64
"""Data sources of one member."""

# --- time (security.md, sections 3.7 and 4) -------------------------------------

STEP_TIMEOUT: Final = 10.0
"""Seconds any single network step of a join or link handshake may take (T23)."""

ADMISSION_TIMEOUT: Final = 60.0
"""Seconds from a candidate's proof to its welcome, while the members agree."""

APPROVAL_TIMEOUT: Final = 120.0
"""The same where a person must approve first."""

PENDING_INTERVAL: Final = 5.0
"""Seconds between the sponsor's signs of life while people decide (T23)."""

ACK_TIMEOUT: Final = 10.0
"""Seconds a committer waits for the acknowledgements of a commit."""

GRACE_TIME: Final = 180.0
"""Seconds an unreachable member keeps its place in Preparation, and a leader its rights."""

REFRESH_AFTER: Final = 86_400.0
"""Seconds after which the session key is renewed though nobody came or went."""

MAX_HISTORY: Final = 64
"""Commits a member can name to one that comes back, so that it sees whether it was ever here."""

MAX_BANNED: Final = 64
"""Node keys of removed members that a session remembers."""

UNREACHABLE_AFTER: Final = 10.0
"""Seconds without any path before the committer calls a member unreachable."""

# --- QUIC (security.md, D9, T23, T24) ---------------------------------------------

PRE_AUTH_WINDOW: Final = 64 * KIB
"""Bytes a connection, and a stream, may hold before its peer is authenticated."""

CONNECTION_WINDOW: Final = 16 * MIB
"""Unconsumed bytes an authenticated connection may hold."""

STREAM_WINDOW: Final = 4 * MIB
"""Unconsumed bytes one stream of an authenticated connection may hold."""

MAX_UNAUTHENTICATED: Final = 32
"""Connections not yet authenticated, in total."""

MAX_UNAUTHENTICATED_PER_SOURCE: Final = 4
"""Connections not yet authenticated, per source address (IPv4 /32, IPv6 /64)."""

PRE_AUTH_IDLE: Final = 15.0
"""Seconds an unauthenticated connection may stay idle."""

MAX_BIDI_STREAMS: Final = 32
"""Bidirectional streams the authenticated peer may have open; every packet walks all streams."""

MAX_UNI_STREAMS: Final = 32
"""Unidirectional streams the authenticated peer may have open."""

MAX_CRYPTO_BUFFER: Final = 16 * KIB
"""Bytes of handshake data held out of order; RFC 9000, section 7.5 asks for 4096 at least."""

MAX_STREAM_GAPS: Final = 1024
"""Separate ranges one stream may hold out of order: a lossy full window makes some 900."""

MIN_DATAGRAM: Final = 1200
"""Bytes of UDP payload every path carries (RFC 9000, section 14)."""

MAX_DATAGRAM: Final = 16383
"""Bytes of UDP payload above which the library's two-byte stream frame length breaks."""

LINK_IDLE: Final = 30.0
"""Seconds without a packet after which a connection is given up."""

MAX_JOINS: Final = 4
"""Joins one sponsor handles at a time (security.md, section 4.2)."""

# --- transfers ----------------------------------------------------------------------

FILE_CHUNK: Final = 256 * KIB
"""Plaintext bytes of one chunk of file data on the wire (security.md, section 3.8)."""

MAX_TRANSFERS_PER_LINK: Final = 8
"""Transfers open at once on one link."""

MAX_TRANSFER: Final = 1024 * GIB
"""Plaintext bytes of one transfer."""
