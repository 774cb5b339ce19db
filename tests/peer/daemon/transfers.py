"""Messages of transfers as a holder would send them, written out in tests."""

import os
from collections.abc import Sequence

from blake3 import blake3

from peer.plan.steps import CopyFile
from peer.transfer import pack
from peer.transfer.pack import Asked, context_of
from protocol.credentials import Secret
from protocol.crypto.chunked import ChunkSealer
from protocol.limits import FILE_CHUNK
from tests.peer.daemon.mesh import SYNC
from tests.peer.transfer.plans import copy

KEY = Secret(bytes(32))
TRANSFER = b"t" * 16


def step(name: str, content: bytes, *, source: int = 0) -> CopyFile:
    """A copy to member 0 of *content*, held by member 1."""
    plan = copy(name, size=len(content), digest=blake3(content).digest())
    return CopyFile(
        member=0,
        source=source,
        path=plan.path,
        holders=plan.holders,
        origin=plan.origin,
        digest=plan.digest,
        mtime_ns=plan.mtime_ns,
    )


def file(number: int, content: bytes) -> bytes:
    records = [pack.begin(number, len(content))]
    for start in range(0, len(content), 1 << 20):
        part = content[start : start + (1 << 20)]
        records += [pack.data_header(len(part)), part]
    return b"".join([*records, pack.end(blake3(content).digest())])


def sealed(steps: Sequence[CopyFile], plaintext: bytes, key: Secret = KEY) -> bytes:
    asked = [Asked(n, one.origin.size, one.digest) for n, one in enumerate(steps)]
    sealer = ChunkSealer(key, context_of(SYNC, TRANSFER, asked), os.urandom)
    parts = [sealer.header()]
    while len(plaintext) >= FILE_CHUNK:
        parts.append(sealer.seal(plaintext[:FILE_CHUNK]))
        plaintext = plaintext[FILE_CHUNK:]
    return b"".join([*parts, sealer.seal(plaintext, last=True)])
