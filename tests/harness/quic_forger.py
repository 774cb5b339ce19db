"""Hostile packets from somebody who has the keys: everything a peer could ever say."""

import random
from collections.abc import Callable
from typing import Any

from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoContext, next_key_phase

GREEDY = 1100
"""Bytes of a frame from which one byte too many would be cut off."""


class Forger:
    """Somebody who has the peer's keys and says whatever it likes with them.

    Args:
        peer: Whose keys they are.
        target: Who will read it; looked at for plausible numbers.
        dice: Source of everything random.
    """

    def __init__(self, peer: QuicConnection, target: Any, dice: random.Random) -> None:
        self._keys: CryptoContext = peer._cryptos[tls.Epoch.ONE_RTT].send
        self._phase = self._keys.key_phase
        self._number = peer._packet_number
        self._target = target
        self._dice = dice
        self._first_stream = 1 if target._is_client else 0
        self._alive = [self._first_stream + 4 * index for index in range(3)]
        self._offsets: dict[int, int] = {}
        self._sent_up_to: dict[int, int] = {}
        self._hp: Any = self._keys.hp
        self.mischief = 0.004
        self._spent = 0
        # Ends a life early, so not in every life: asks for one byte too many.
        self._greed = dice.choice((0.0, 0.0, 0.7))
        # Leaves gaps that nobody ever hears of: too many ranges to acknowledge.
        self._stride = dice.choice((1, 1, 1, 2))
        self._ended: list[int] = [self._first_stream]

    # --- packets -------------------------------------------------------------------

    def batch(self) -> list[bytes]:
        """Return datagrams as a network may deliver them."""
        dice = self._dice
        made: list[bytes] = []
        usual = dice.choice((0.5, 0.8, 1.0))
        self._spent = 0
        following = next_key_phase(self._keys)
        if self._target._cryptos[tls.Epoch.ONE_RTT].recv.secret == following.secret:
            # The target went ahead.
            self._update_keys()
        for stream_id in self._alive:
            if dice.random() < 0.7 and stream_id in self._target._streams:
                # What was lost is sent again.
                receiver = self._target._streams[stream_id].receiver
                self._offsets[stream_id] = receiver._buffer_start
        for _ in range(dice.choice((1, 2, 5, 12))):
            if dice.random() < 0.01:
                self._update_keys()
            payload = self._bulk() if dice.random() < usual else self._mixture()
            data = self._packet(payload)
            if dice.random() < 0.03:
                data = self._long_header() + data
            made.append(data)
        return self._travelled(made)

    def _travelled(self, made: list[bytes]) -> list[bytes]:
        dice = self._dice
        if dice.random() < 0.4:
            return made
        arrived: list[bytes] = []
        for whole in made:
            data = whole
            fate = dice.random()
            if fate < 0.04:
                continue
            if fate < 0.07:
                data = data[: dice.randrange(len(data) + 1)]
            elif fate < 0.11:
                spot = dice.randrange(dice.choice((1, min(30, len(data)), len(data))))
                flipped = data[spot] ^ 1 << dice.randrange(8)
                data = data[:spot] + bytes((flipped,)) + data[spot + 1 :]
            arrived.append(data)
            if fate > 0.96:
                arrived.insert(dice.randrange(len(arrived)), data)
        for _ in range(len(arrived) // 6):
            i, j = dice.randrange(len(arrived)), dice.randrange(len(arrived))
            arrived[i], arrived[j] = arrived[j], arrived[i]
        return arrived

    def _packet(self, payload: bytes) -> bytes:
        dice = self._dice
        if dice.random() < 0.03:
            self._number += self._stride * dice.choice(
                (1, 3, 40, 150, 70_000 if dice.random() < 0.05 else 2)
            )
        number = self._number
        self._number += self._stride
        size = 2 if dice.random() < 0.95 else dice.choice((1, 2, 3, 4))
        first = 0x40 | self._phase << 2 | size - 1
        if dice.random() < 0.3:
            first |= 0x20
        if dice.random() < self.mischief / 10:
            first |= dice.choice((0x08, 0x10, 0x18))
        cids = [connection_id.cid for connection_id in self._target._host_cids]
        cid = self._target.host_cid if dice.random() < 0.97 else dice.choice(cids)
        header = bytes((first,)) + cid + (number & (1 << 8 * size) - 1).to_bytes(size, "big")
        payload = payload.ljust(4, b"\0")
        assert self._keys.aead is not None
        assert self._hp is not None
        sealed = self._keys.aead.encrypt(payload, header, number)
        return bytes(self._hp.apply(header, sealed))

    def _update_keys(self) -> None:
        self._keys = next_key_phase(self._keys)
        self._phase = self._keys.key_phase

    def _long_header(self) -> bytes:
        kind = self._dice.choice((0xC0, 0xD0, 0xE0))
        body = self._dice.randbytes(30)
        token = b"\0" if kind == 0xC0 else b""
        cid: bytes = self._target.host_cid
        return bytes((kind, 0, 0, 0, 1, len(cid))) + cid + b"\0" + token + b"\x1e" + body

    # --- frames ----------------------------------------------------------------------

    def _bulk(self) -> bytes:
        """Return the next bytes of some stream, as a sender of bulk data would."""
        return self._stream_frame(self._any_stream(), explicit=self._dice.random() < 0.5)

    def _any_stream(self) -> int:
        return self._dice.choice((*self._alive, self._alive[0], self._alive[0]))

    def _replace(self, stream_id: int) -> None:
        """Let another stream follow one that ended."""
        self._ended.append(stream_id)
        self._alive[self._alive.index(stream_id)] = max(self._alive) + 4

    def _stream_frame(
        self, stream_id: int, *, explicit: bool, offset: int | None = None, fin: bool = False
    ) -> bytes:
        dice = self._dice
        if offset is None:
            offset = self._offsets.get(stream_id, 0)
        data = dice.randbytes(dice.choice((1, 40, 200, 1100, 1100)))
        data = data[: self._room(stream_id, offset)]
        self._spent += len(data)
        self._offsets[stream_id] = max(self._offsets.get(stream_id, 0), offset + len(data))
        top = self._sent_up_to.get(stream_id, 0)
        if fin:
            offset = max(offset, top)
        self._sent_up_to[stream_id] = max(top, offset + len(data))
        kind = 0x08 | explicit << 1 | fin
        buf = Buffer(capacity=1500)
        with_offset = bool(offset) or dice.random() < 0.5
        buf.push_uint_var(kind | with_offset << 2)
        buf.push_uint_var(stream_id)
        if with_offset:
            if dice.random() < 0.5:
                buf.push_uint64(offset | 0xC0 << 56)
            else:
                buf.push_uint_var(offset)
        if explicit:
            buf.push_uint16(len(data) | 0x4000)
        buf.push_bytes(data)
        return buf.data

    def _room(self, stream_id: int, offset: int) -> int:
        """Return how many bytes at *offset* are allowed; rarely, one more."""
        target = self._target
        stream = target._streams.get(stream_id)
        limit = (
            target._local_max_stream_data_bidi_remote
            if stream is None
            else stream.max_stream_data_local
        )
        known = 0 if stream is None else stream.receiver.highest_offset
        connection = target._local_max_data
        left = connection.value - connection.used - self._spent
        room = min(limit - offset, max(known, offset) - offset + left)
        if room > 0 and room + 1 < GREEDY and self._dice.random() < self._greed:
            return int(room) + 1
        return max(0, int(room))

    def _mixture(self) -> bytes:
        dice = self._dice
        if dice.random() < self.mischief:
            return self._harm()
        frames = [self._frame() for _ in range(dice.choice((1, 1, 2, 4)))]
        if dice.random() < 0.3:
            frames.insert(dice.randrange(len(frames) + 1), bytes(dice.randrange(1, 50)))
        if dice.random() < 0.3:
            frames.append(self._bulk())
        if dice.random() < 0.3:
            # The length says that another frame follows.
            frames.insert(0, self._stream_frame(self._any_stream(), explicit=True))
        return b"".join(frames)

    def _frame(self) -> bytes:
        dice = self._dice
        if dice.random() < self.mischief:
            return self._harm()
        return dice.choice(self._harmless())()

    def _harm(self) -> bytes:
        return self._dice.choice(self._harmful())()

    def _numbers(self, *numbers: int) -> bytes:
        buf = Buffer(capacity=100)
        for number in numbers:
            buf.push_uint_var(number)
        return buf.data

    def _harmless(self) -> list[Callable[[], bytes]]:
        dice = self._dice
        target = self._target
        own = 0 if target._is_client else 1

        def again() -> bytes:
            stream_id = self._any_stream()
            known = self._offsets.get(stream_id, 0)
            offset = max(0, known + dice.choice((-300, -20, -1, 1, 30, 2000)))
            return self._stream_frame(stream_id, explicit=True, offset=offset)

        def acknowledge() -> bytes:
            if self._stride > 1:
                return b"\x01"
            top = max(0, target._packet_number - 1 - dice.choice((0, 0, 0, 1, 5)))
            first = dice.randrange(min(top, 20) + 1)
            rest: list[int] = []
            at = top - first
            while dice.random() < 0.4:
                gap, length = dice.randrange(3), dice.randrange(4)
                at -= gap + 2 + length
                if at < 0:
                    break
                rest += [gap, length]
            kind = 2 if dice.random() < 0.9 else 3
            tail = (1, 2, 3) if kind == 3 else ()
            return self._numbers(
                kind, top, dice.randrange(3000), len(rest) // 2, first, *rest, *tail
            )

        def limits() -> bytes:
            return self._numbers(0x10, target._remote_max_data + dice.randrange(50_000))

        def stream_limit() -> bytes:
            return self._numbers(0x11, own, dice.randrange(1 << 20))

        def identity() -> bytes:
            sequence = max(target._peer_cid_sequence_numbers) + 1
            retired = max(0, sequence - dice.choice((1, 3, 6)))
            if len(target._peer_cid_available) > 4:
                return b"\x01"
            return self._numbers(0x18, sequence, retired) + b"\x08" + dice.randbytes(8 + 16)

        def retire() -> bytes:
            spare = [c.sequence_number for c in target._host_cids if c.cid != target.host_cid]
            return self._numbers(0x19, dice.choice(spare)) if spare else b"\x01"

        def end() -> bytes:
            stream_id = self._any_stream()
            if dice.random() < 0.7:
                return b"\x01"
            self._replace(stream_id)
            return self._stream_frame(stream_id, explicit=True, fin=True)

        def reset() -> bytes:
            stream_id = self._any_stream()
            if dice.random() < 0.8:
                return b"\x01"
            self._replace(stream_id)
            self._sent_up_to[stream_id] = self._sent_up_to.get(stream_id, 0)
            return self._numbers(0x04, stream_id, 7, self._sent_up_to[stream_id])

        return [
            lambda: b"\x01",
            acknowledge,
            acknowledge,
            acknowledge,
            again,
            again,
            limits,
            stream_limit,
            lambda: self._numbers(0x12, dice.randrange(200)),
            lambda: self._numbers(0x13, dice.randrange(200)),
            lambda: self._numbers(0x14, dice.randrange(1 << 20)),
            lambda: self._numbers(0x15, self._first_stream, dice.randrange(1 << 20)),
            lambda: self._numbers(0x16, dice.randrange(200)),
            lambda: self._numbers(0x17, dice.randrange(200)),
            lambda: b"\x1a" + dice.randbytes(8),
            identity,
            retire,
            end,
            reset,
            lambda: self._numbers(0x05, own, 9) if dice.random() < 0.1 else b"\x01",
            lambda: b"\x1e" if target._is_client else b"\x01",
            lambda: b"\x07\x04abcd" if target._is_client else b"\x01",
        ]

    def _harmful(self) -> list[Callable[[], bytes]]:
        dice = self._dice
        target = self._target

        def after_the_end() -> bytes:
            stream_id = dice.choice(self._ended)
            offset = self._sent_up_to.get(stream_id, 0)
            return self._numbers(0x0C, stream_id, offset) + bytes(40)

        return [
            # Beyond a stream's window, the connection's, the number of streams.
            lambda: self._numbers(0x0E, self._first_stream, 1 << 22, 1) + b"x",
            lambda: self._numbers(0x0C, self._first_stream + 8, 65_000) + bytes(2000),
            lambda: self._numbers(0x08, self._first_stream + 4000),
            lambda: self._numbers(0x08, 1 - self._first_stream + 400),
            lambda: b"\x0f\x00\xff\xff",
            after_the_end,
            after_the_end,
            after_the_end,
            lambda: self._numbers(0x04, self._first_stream, 1, 3),
            lambda: b"\x06" + self._numbers(0, 4) + b"\x18\0\0\0",
            lambda: self._numbers(0x1C, 1, 0, 0),
            lambda: self._numbers(0x1D, 1, 0),
            lambda: self._numbers(0x21),
            lambda: b"\x40" + b"\x08" + dice.randbytes(20),
            lambda: b"\x1b" + dice.randbytes(8),
            lambda: b"\x30" + dice.randbytes(20),
            lambda: self._numbers(0x02, target._packet_number + 5, 0, 0, 2),
            lambda: self._numbers(0x02, 3, 0, 0, 9),
            lambda: self._numbers(0x19, target._host_cid_seq + 3),
            lambda: dice.randbytes(dice.randrange(1, 60)),
        ]
