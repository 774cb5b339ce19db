import pytest

from protocol.address import from_sockaddr
from protocol.errors import NodeRefusal, NodeRefused
from protocol.messages.rendezvous import Hello
from protocol.versions import RENDEZVOUS_VERSION
from rendezvous.greeter import Greeter

SOURCE = from_sockaddr(("192.0.2.1", 4000))


class Vouched:
    """A certificate to recognise."""

    chain = (b"leaf", b"root")

    def prove(self, exporter: bytes) -> bytes:
        return b"signed " + exporter


def greeter(*access: str) -> Greeter:
    return Greeter(b"k" * 32, lambda message: b"s" * 64, access)


def hello(access: str = "") -> Hello:
    return Hello(version=RENDEZVOUS_VERSION, access=access)


def test_a_certificate_is_shown_with_a_signature_for_this_connection() -> None:
    """None is shown before there is one."""
    node = greeter()
    before = node.welcome(hello(), SOURCE, b"exporter")
    node.certify(Vouched())

    after = node.welcome(hello(), SOURCE, b"exporter")

    assert (before.chain, before.chain_proof) == ((), b"")
    assert (after.chain, after.chain_proof) == ((b"leaf", b"root"), b"signed exporter")


def test_access_tokens_may_change_while_the_node_runs() -> None:
    """The old one is worth nothing then; none opens the node to all."""
    node = greeter("old token")
    node.welcome(hello("old token"), SOURCE, b"")
    node.admit(["new token"])

    with pytest.raises(NodeRefused) as refused:
        node.welcome(hello("old token"), SOURCE, b"")
    node.welcome(hello("new token"), SOURCE, b"")
    node.admit([])
    node.welcome(hello(), SOURCE, b"")

    assert refused.value.refusal is NodeRefusal.ACCESS
