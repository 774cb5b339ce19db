import re

from protocol import versions
from protocol.crypto.transcript import PROTOCOL_LABEL


def test_versions_fit_the_byte_they_are_sent_in() -> None:
    """Zero is never one."""
    for version in (versions.VERSION, versions.SUITE, versions.RENDEZVOUS_VERSION):
        assert 1 <= version <= 255


def test_the_names_on_the_wire_carry_the_version() -> None:
    """A new version is another protocol to TLS and to every key schedule."""
    assert versions.PEER_ALPN.endswith(f"/{versions.VERSION}")
    assert versions.RENDEZVOUS_ALPN.endswith(f"/{versions.RENDEZVOUS_VERSION}")
    assert versions.PEER_ALPN.encode() == PROTOCOL_LABEL


def test_members_and_node_speak_different_protocols() -> None:
    """Neither answers a stranger's handshake meant for the other."""
    names = (versions.PEER_ALPN, versions.RENDEZVOUS_ALPN)

    assert len(set(names)) == 2
    assert all(re.fullmatch(r"[a-z-]+/\d+", name) for name in names)


def test_a_node_serves_the_version_this_build_speaks() -> None:
    """And never more than one besides."""
    assert versions.RENDEZVOUS_VERSION in versions.RENDEZVOUS_VERSIONS
    assert len(versions.RENDEZVOUS_VERSIONS) <= 2
