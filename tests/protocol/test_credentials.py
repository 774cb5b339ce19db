"""Session ID, password, fingerprints and the invitation link."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.credentials import (
    ALPHABET,
    MAX_INPUT,
    Invitation,
    Password,
    Secret,
    SessionId,
    check_symbol,
    fingerprint,
    fingerprint_symbols,
)
from protocol.errors import SecretUnusable

SESSION = SessionId("7GQ2M9KX" + check_symbol("7GQ2M9KX"))
PASSWORD = Password.parse("K7QF2MNX9TB" + check_symbol("K7QF2MNX9TB"))
NODE = "ABCDEFGH01234567"

session_ids = st.binary(min_size=8, max_size=8).map(lambda b: SessionId.generate(lambda n: b[:n]))
passwords = st.binary(min_size=11, max_size=11).map(lambda b: Password.generate(lambda n: b[:n]))
fingerprints = st.one_of(st.just(""), st.text(ALPHABET, min_size=16, max_size=16))
DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\uff0d"
separators = st.text(" \t\u00a0\u00ad" + DASHES, max_size=3)


def typed(draw: st.DrawFn, symbols: str) -> str:
    """The symbols as a hurried person types them."""
    readings = {"1": "1iIlL", "0": "0oO"}
    written = [
        draw(st.sampled_from(readings.get(c, c + c.lower()))) + draw(separators) for c in symbols
    ]
    return draw(separators) + "".join(written)


@given(st.data())
def test_whatever_case_dash_or_look_alike_a_session_id_is_read(data: st.DataObject) -> None:
    """Parsing undoes formatting and every tolerated way of typing."""
    session = data.draw(session_ids)
    text = data.draw(st.composite(typed)(session.value))

    assert SessionId.parse(str(session)) == session
    assert SessionId.parse(text) == session


@given(st.data())
def test_whatever_case_dash_or_look_alike_a_password_is_read(data: st.DataObject) -> None:
    """Parsing undoes formatting and every tolerated way of typing."""
    password = data.draw(passwords)
    text = data.draw(st.composite(typed)(password.normalised.decode()))

    assert Password.parse(password.shown()) == password
    assert Password.parse(text) == password


def test_the_check_symbol_is_the_published_sum() -> None:
    """Alpha for the first symbol, its square for the second, and two frozen examples."""
    assert [check_symbol("0" * place + "1") for place in range(6)] == list("248G5A")
    assert SESSION.value == "7GQ2M9KXX"
    assert PASSWORD.normalised == b"K7QF2MNX9TBH"


def test_credentials_look_as_the_texts_say() -> None:
    """Groups of three for the ID, of four for the password."""
    assert str(SESSION)[:8] == "7GQ-2M9-"
    assert len(str(SESSION)) == 11
    assert PASSWORD.shown()[:10] == "K7QF-2MNX-"
    assert len(PASSWORD.shown()) == 14
    assert SESSION.encoded == SESSION.value.encode()


@given(passwords, st.integers(0, 11))
def test_every_wrong_symbol_is_noticed(password: Password, place: int) -> None:
    """No single substitution passes the check."""
    symbols = password.normalised.decode()
    others = [symbols[:place] + c + symbols[place + 1 :] for c in ALPHABET if c != symbols[place]]

    for other in others:
        with pytest.raises(SecretUnusable):
            Password.parse(other)


@given(session_ids, st.integers(0, 7))
def test_every_swap_of_neighbours_is_noticed(session: SessionId, place: int) -> None:
    """Two different symbols in the wrong order never pass, the check symbol included."""
    symbols = session.value
    swapped = symbols[:place] + symbols[place + 1] + symbols[place] + symbols[place + 2 :]

    if swapped == symbols:
        assert SessionId.parse(swapped) == session
    else:
        with pytest.raises(SecretUnusable):
            SessionId.parse(swapped)


@pytest.mark.parametrize(
    "text", ["", "7GQ", "7GQ-2M9-KXTT", "7GQ-2M9-KX\u0130", "\u017f" * 9, "U" * 9, "0" * 5000]
)
def test_what_is_no_session_id_is_refused(text: str) -> None:
    """Too short, too long, letters of other scripts that upper-case into ours."""
    with pytest.raises(SecretUnusable) as caught:
        SessionId.parse(text)

    assert caught.value.code == "E02"


def test_a_session_id_holds_only_its_normal_form() -> None:
    """The constructor takes what parse returns and nothing else."""
    with pytest.raises(SecretUnusable):
        SessionId(str(SESSION))


def test_a_mistyped_password_says_so_without_repeating_it() -> None:
    """The error names what was wrong, never the text."""
    with pytest.raises(SecretUnusable) as caught:
        Password.parse("K7QF-2MNX-9TBZ")

    assert caught.value.code == "E03"
    assert "K7QF" not in repr(caught.value) + str(caught.value)


def test_generated_credentials_use_every_symbol() -> None:
    """All 32 values of five bits appear as symbols."""
    seen = {SessionId.generate(lambda n, b=b: bytes([b]) * n).value[0] for b in range(256)}  # type: ignore[misc]

    assert seen == set(ALPHABET)


def test_a_secret_shows_copies_and_hashes_nothing() -> None:
    """No repr shows it; pickle, copy and hash refuse it; equality still works."""
    secret = Secret(b"k" * 32)

    assert repr(secret) == str(secret) == f"{secret}" == repr(PASSWORD) == "<secret>"
    assert secret == Secret(b"k" * 32)
    assert secret != Secret(b"l" * 32)
    assert secret != b"k" * 32
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy, hash):
        with pytest.raises(TypeError):
            attempt(secret)


def test_a_fingerprint_is_eight_groups_of_four() -> None:
    """160 bits of SHA-256 in Crockford's alphabet; the digest of nothing starts e3b0c44298."""
    shown = fingerprint(b"")

    assert shown == "WERC 8GMR ZGE1 96QV YK49 JVXS 4GKT WGF4"
    assert fingerprint_symbols(b"") == shown.replace(" ", "")


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("rendezvous.example.org", "rendezvous.example.org:4433"),
        ("192.0.2.7", "192.0.2.7:4433"),
        ("2001:db8::1.2.3.4", "%5B2001:db8::102:304%5D:4433"),
        ("node", "node:4433"),
    ],
)
def test_every_kind_of_host_survives_the_link(host: str, written: str) -> None:
    """Dots of names and colons of IPv6 do not meet the separators of the link."""
    canonical = "2001:db8::102:304" if ":" in host else host
    invitation = Invitation(SESSION, PASSWORD, NODE, canonical, 4433, NODE, "tök.en/1")

    link = invitation.link()

    assert f".{NODE}.{written}.{NODE}." in link
    assert Invitation.parse(link) == invitation
    assert Invitation.parse(link.replace("%5B", "[").replace("%5D", "]")) == invitation


def test_a_session_without_a_node_has_a_link_too() -> None:
    """On a LAN there is neither node nor fingerprint: their fields stay empty."""
    invitation = Invitation(SESSION, PASSWORD)

    link = invitation.link()

    assert link.startswith(f"quintet://join#1.{SESSION.value}.")
    assert link.endswith("...")
    assert Invitation.parse(link) == invitation


@given(
    session_ids,
    passwords,
    fingerprints,
    st.one_of(
        st.just(("", 0)),
        st.tuples(
            st.one_of(
                st.ip_addresses(v=4).map(str),
                st.ip_addresses(v=6).map(str),
                st.from_regex(r"[a-z0-9]{1,9}(\.[a-z0-9]{1,9}){0,3}", fullmatch=True).filter(
                    lambda name: not name.replace(".", "").isdigit()
                ),
            ),
            st.integers(1, 65535),
        ),
    ),
    fingerprints,
    st.text(st.characters(exclude_categories=("C", "Z")), max_size=20),
)
def test_any_invitation_is_read_back_from_the_text_around_it(  # noqa: PLR0917  # one per field
    session: SessionId,
    password: Password,
    creator: str,
    node: tuple[str, int],
    node_fingerprint: str,
    access: str,
) -> None:
    """A whole pasted message yields the same invitation as the bare link."""
    invitation = Invitation(session, password, creator, *node, node_fingerprint, access)
    pasted = f"Session ID {session}\nJoin with\t{invitation.link()}\nor ask me."

    assert Invitation.parse(pasted) == invitation
    assert Invitation.parse(pasted.replace("quintet://join", "https://a.example/j")) == invitation


@pytest.mark.parametrize(
    ("link", "what"),
    [
        ("nothing here", "invitation"),
        ("quintet://join#2.{id}.{pw}...", "invitation"),
        ("quintet://join#1.{id}.{pw}..", "invitation"),
        ("quintet://join#1.{id}.{pw}..host.", "invitation"),
        ("quintet://join#1.{id}.{pw}..host:0.", "invitation"),
        ("quintet://join#1.{id}.{pw}..host:65536.", "invitation"),
        ("quintet://join#1.{id}.{pw}..-host:1.", "invitation"),
        ("quintet://join#1.{id}.{pw}..a..b:1.", "invitation"),
        ("quintet://join#1.{id}.{pw}..[::g]:1.", "invitation"),
        ("quintet://join#1.{id}.{pw}.SHORT..", "invitation"),
        ("quintet://join#1.{id}.{pw}...0123456789ABCDEU", "invitation"),
        ("quintet://join#1.{id}.{pw}....%07", "invitation"),
        ("quintet://join#1.{id}.{pw}....{long}", "invitation"),
        ("quintet://join#1.000000001.{pw}...", "session_id"),
        ("quintet://join#1.{id}.000000000001...", "password"),
    ],
)
def test_a_broken_link_says_which_part_is_wrong(link: str, what: str) -> None:
    """One error type, and never the secret itself."""
    text = link.format(id=SESSION.value, pw=PASSWORD.normalised.decode(), long="x" * 129)

    with pytest.raises(SecretUnusable) as caught:
        Invitation.parse(text)

    assert caught.value.what == what
    assert PASSWORD.normalised.decode() not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [{"host": "Node", "port": 1}, {"host": "fe80::1%e", "port": 1}, {"host": "node"}, {"port": 9}],
)
def test_an_invitation_holds_only_its_normal_form(fields: dict[str, object]) -> None:
    """Upper-case hosts, scoped addresses, half an address are no values."""
    with pytest.raises(SecretUnusable):
        Invitation(SESSION, PASSWORD, **fields)  # type: ignore[arg-type]


@given(st.text(max_size=200), st.text(st.sampled_from("1.:[]%{}-AZ09" + "é"), max_size=80))
def test_no_text_breaks_the_parser(before: str, fields: str) -> None:
    """Anything pasted gives an invitation or the one error."""
    for text in (before, f"{before}quintet://join#{fields}", "x" * (MAX_INPUT + 1)):
        try:
            found = Invitation.parse(text)
        except SecretUnusable:
            continue
        assert Invitation.parse(found.link()) == found


def test_an_invitation_hides_password_and_token() -> None:
    """The repr of the value may reach a log."""
    invitation = Invitation(SESSION, PASSWORD, access="hunter2")

    assert "hunter2" not in repr(invitation)
    assert PASSWORD.normalised.decode() not in repr(invitation)
