"""Session ID, Session Password, fingerprints and the invitation link (security.md, 3.2 and 3.9).

Both credentials are symbols of Crockford's base 32 with a check symbol of GF(32) at the end:
every single wrong symbol and every swap of two neighbours is noticed before anything is sent.
"""

import hashlib
import hmac
import ipaddress
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn, Self
from urllib.parse import quote, unquote

from protocol.errors import SecretUnusable

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O and U."""

SESSION_ID_SYMBOLS: Final = 9
"""Symbols of a Session ID: 40 random bits and the check symbol (security.md, D5)."""

PASSWORD_SYMBOLS: Final = 12
"""Symbols of a Session Password: 55 random bits and the check symbol (security.md, D4)."""

FINGERPRINT_SYMBOLS: Final = 32
"""Symbols of a fingerprint: 160 bits of SHA-256."""

SHORT_FINGERPRINT: Final = 16
"""Leading symbols of a fingerprint that an invitation carries: 80 bits."""

LINK_SCHEME: Final = "quintet"
_LINK_VERSION: Final = "1"

MAX_INPUT: Final = 4096
"""Characters of typed or pasted text looked at; a whole invitation is below 1000."""

MAX_ACCESS: Final = 128
"""Characters of a node's access token."""

_VALUE_OF: Final = {symbol: value for value, symbol in enumerate(ALPHABET)}
# Only ASCII letters are raised: str.upper() would turn other scripts' letters into ours.
_TYPED: Final = {ord(symbol.lower()): symbol for symbol in ALPHABET} | {
    ord(typed): meant for typed, meant in zip("iIlLoO", "111100", strict=True)
}
_GF_POLYNOMIAL: Final = 0b100101  # x^5 + x^2 + 1
# What may stand between symbols: white space, controls such as tab, invisible format
# characters such as the soft hyphen, every kind of dash; and the minus sign, a "symbol".
_SEPARATORS: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Pd"})
_MINUS: Final = "\u2212"


class Secret:
    """Bytes that no log, error, copy or pickle may show.

    Equality takes the same time wherever two values differ. Python cannot wipe the bytes;
    keeping them in few holders with short lives is what is done (security.md, 5.7).
    """

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]  # a hash would travel where the value may not

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes themselves, for a key derivation or a seal."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not copied or pickled")


def _double(value: int) -> int:
    """Return *value* times alpha in GF(32)."""
    value <<= 1
    return value ^ _GF_POLYNOMIAL if value & 32 else value


def check_symbol(symbols: str) -> str:
    """Return the check symbol of *symbols*: the sum of alpha^(i+1) times the i-th of them."""
    # Horner's rule from the last symbol; the final doubling makes the first weight alpha.
    total = 0
    for symbol in reversed(symbols):
        total = _double(total) ^ _VALUE_OF[symbol]
    return ALPHABET[_double(total)]


def _generate(count: int, random_bytes: Callable[[int], bytes]) -> str:
    # 32 divides 256: the low five bits of a uniform byte are uniform.
    symbols = "".join(ALPHABET[byte & 31] for byte in random_bytes(count - 1))
    return symbols + check_symbol(symbols)


def _normalise(text: str, count: int, what: str) -> str:
    """Return the *count* symbols *text* means.

    Raises:
        SecretUnusable: If they are too few, too many, no symbols, or fail the check.
    """
    if len(text) > MAX_INPUT:
        raise SecretUnusable(what)
    kept = (c for c in text if unicodedata.category(c) not in _SEPARATORS and c != _MINUS)
    symbols = "".join(kept).translate(_TYPED)
    if len(symbols) != count or not all(symbol in _VALUE_OF for symbol in symbols):
        raise SecretUnusable(what)
    if check_symbol(symbols[:-1]) != symbols[-1]:
        raise SecretUnusable(what)
    return symbols


@dataclass(frozen=True, slots=True)
class SessionId:
    """Names one session; known to the rendezvous node, never a proof of anything.

    Args:
        value: Nine symbols, check symbol last, no hyphens.
    """

    value: str

    def __post_init__(self) -> None:
        if _normalise(self.value, SESSION_ID_SYMBOLS, "session_id") != self.value:
            raise SecretUnusable("session_id")

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes]) -> Self:
        return cls(_generate(SESSION_ID_SYMBOLS, random_bytes))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the Session ID a person typed.

        Raises:
            SecretUnusable: If *text* is none, or holds a typing mistake.
        """
        return cls(_normalise(text, SESSION_ID_SYMBOLS, "session_id"))

    @property
    def encoded(self) -> bytes:
        """The nine symbols as the transcripts take them."""
        return self.value.encode("ascii")

    def __str__(self) -> str:
        return "-".join((self.value[:3], self.value[3:6], self.value[6:]))


class Password(Secret):
    """The Session Password: what a candidate proves to know, and what is never sent."""

    __slots__ = ()

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes]) -> Self:
        return cls(_generate(PASSWORD_SYMBOLS, random_bytes).encode("ascii"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the password a person typed.

        Raises:
            SecretUnusable: If *text* is none, or holds a typing mistake.
        """
        return cls(_normalise(text, PASSWORD_SYMBOLS, "password").encode("ascii"))

    @property
    def normalised(self) -> bytes:
        """The twelve symbols as the key derivation takes them."""
        return self.reveal()

    def shown(self) -> str:
        """Return the password with hyphens, for the screen of a member."""
        symbols = self.reveal().decode("ascii")
        return "-".join((symbols[:4], symbols[4:8], symbols[8:]))


def fingerprint(public_key: bytes) -> str:
    """Return the fingerprint people compare: eight groups of four symbols, 160 bits."""
    symbols = fingerprint_symbols(public_key)
    return " ".join(symbols[i : i + 4] for i in range(0, FINGERPRINT_SYMBOLS, 4))


def fingerprint_symbols(public_key: bytes) -> str:
    """Return the fingerprint's 32 symbols without spaces; a link carries the first 16."""
    bits = int.from_bytes(hashlib.sha256(public_key).digest()[:20], "big")
    return "".join(ALPHABET[bits >> shift & 31] for shift in range(155, -1, -5))


@dataclass(frozen=True, slots=True)
class Invitation:
    """What one person sends to another so that they can join.

    Args:
        session_id: The session.
        password: Its password.
        creator: First 16 symbols of the creator's fingerprint, or empty.
        host: Name or address of the rendezvous node; empty when there is none.
        port: Its UDP port; 0 when there is none.
        node: First 16 symbols of the node's fingerprint, or empty.
        access: Access token of a private node, or empty.
    """

    session_id: SessionId
    password: Password
    creator: str = ""
    host: str = ""
    port: int = 0
    node: str = ""
    access: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        valid = (
            _is_short_fingerprint(self.creator)
            and _is_short_fingerprint(self.node)
            and (_canonical_host(self.host) == self.host if self.host else self.port == 0)
            and 0 <= self.port <= _MAX_PORT
            and bool(self.host) == bool(self.port)
            and len(self.access) <= MAX_ACCESS
            and self.access.isprintable()
        )
        if not valid:
            raise SecretUnusable("invitation")

    def link(self) -> str:
        """Return the link; its secrets stand in the fragment, which no web server is sent."""
        host = self.host
        if ":" in host:
            # Brackets are no characters of a fragment (RFC 3986, section 3.5).
            host = f"%5B{host}%5D"
        fields = [
            _LINK_VERSION,
            self.session_id.value,
            self.password.normalised.decode("ascii"),
            self.creator,
            f"{host}:{self.port}" if host else "",
            self.node,
        ]
        if self.access:
            fields.append(quote(self.access, safe=""))
        return f"{LINK_SCHEME}://join#" + ".".join(fields)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the invitation whose link stands somewhere in *text*.

        Raises:
            SecretUnusable: ``invitation`` if no link of this version is there, ``session_id``
                or ``password`` if that part of it holds a typing mistake.
        """
        match = _LINK.search(text[:MAX_INPUT])
        fields = _FIELDS.fullmatch(match["fields"]) if match else None
        if fields is None:
            raise SecretUnusable("invitation")
        host = fields["host"] or ""
        return cls(
            session_id=SessionId.parse(fields["id"]),
            password=Password.parse(fields["password"]),
            creator=fields["creator"].upper(),
            host=_canonical_host(re.sub(r"\A(?:\[|%5[Bb])|(?:\]|%5[Dd])\Z", "", host)),
            port=int(fields["port"] or 0),
            node=fields["node"].upper(),
            access=unquote(fields["access"] or ""),
        )


_LINK: Final = re.compile(r"(?:quintet://join/?|https://[^\s#]{1,256})#(?P<fields>[!-~]{1,1024})")
# The port is what ends the node's field: a host has dots, and an IPv6 address has colons.
_FIELDS: Final = re.compile(
    r"1\.(?P<id>[0-9A-Za-z-]+)\.(?P<password>[0-9A-Za-z-]+)\.(?P<creator>[0-9A-Za-z]*)"
    r"\.(?:(?P<host>(?:\[|%5[Bb])[0-9A-Fa-f:.]+(?:\]|%5[Dd])|[0-9A-Za-z.-]+):(?P<port>[0-9]{1,5}))?"
    r"\.(?P<node>[0-9A-Za-z]*)(?:\.(?P<access>[!-~]+))?"
)
_HOST_LABEL: Final = re.compile(r"(?!-)[0-9a-z-]{1,63}(?<!-)")
_MAX_HOST: Final = 253
_MAX_PORT: Final = 65535


def _is_short_fingerprint(text: str) -> bool:
    return not text or (len(text) == SHORT_FINGERPRINT and all(c in _VALUE_OF for c in text))


def _canonical_host(text: str) -> str:
    """Return *text* as a lower-case name or a canonical address; empty stays empty.

    Raises:
        SecretUnusable: If it is neither.
    """
    if not text:
        return ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        name = text.lower()
        if len(name) > _MAX_HOST or not all(map(_HOST_LABEL.fullmatch, name.split("."))):
            raise SecretUnusable("invitation") from None
        return name
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise SecretUnusable("invitation")
    return str(address)
