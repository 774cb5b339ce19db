"""What is derived from the credentials."""

import pytest

from protocol.credentials import Password, Secret, SessionId
from protocol.crypto.password import derive_prs, derive_tag_key, discovery_tag, join_tag

SESSION = SessionId.generate(lambda n: bytes(range(n)))
OTHER = SessionId.generate(lambda n: bytes(range(1, n + 1)))
PASSWORD = Password.generate(lambda n: bytes(range(n)))


@pytest.fixture(scope="module")
def prs() -> Secret:
    return derive_prs(PASSWORD, SESSION)


def test_the_derivation_is_frozen(prs: Secret) -> None:
    """Parameters, salt and normal form are part of the wire: any change is another version."""
    expected = "4049d81182031b2c445c6cc5f4393affe5f2188ffeab1393f8cee8721e539dea"

    assert prs.reveal().hex() == expected


def test_the_tag_key_is_frozen() -> None:
    """The same for the key of the tags."""
    expected = "d506cf045ba95be28ca49fc6a90b47a6672c71946856f0e338dc0fccdf96b1dd"

    assert derive_tag_key(SESSION).reveal().hex() == expected


def test_other_sessions_derive_other_values(prs: Secret) -> None:
    """One password in two sessions gives two proofs."""
    assert derive_prs(PASSWORD, OTHER) != prs


def test_tags_differ_by_nonce_key_and_place() -> None:
    """A tag heard on the LAN opens no join."""
    key, other = Secret(b"k" * 32), Secret(b"o" * 32)

    tags = {join_tag(key, b"n"), join_tag(key, b"m"), join_tag(other, b"n")}
    tags |= {discovery_tag(key, b"n"), discovery_tag(other, b"n")}

    assert len(tags) == 5
    assert {len(tag) for tag in tags} == {16}
