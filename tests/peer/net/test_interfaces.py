import ipaddress
import socket
from typing import NamedTuple

import psutil
import pytest

from peer.net.interfaces import VIRTUAL, host_addresses
from protocol.messages.rendezvous import Address


class Assigned(NamedTuple):
    """An address of an interface, as psutil tells it."""

    family: int
    address: str


class Stats(NamedTuple):
    """The state of an interface, as psutil tells it."""

    isup: bool


def machine(
    monkeypatch: pytest.MonkeyPatch,
    interfaces: dict[str, list[Assigned]],
    down: tuple[str, ...] = (),
    unknown: tuple[str, ...] = (),
) -> None:
    """Let this computer have these interfaces."""
    states = {name: Stats(name not in down) for name in interfaces if name not in unknown}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: interfaces)
    monkeypatch.setattr(psutil, "net_if_stats", lambda: states)


def v4(text: str) -> Assigned:
    return Assigned(socket.AF_INET, text)


def v6(text: str) -> Assigned:
    return Assigned(socket.AF_INET6, text)


def hosts(found: list[Address]) -> list[str]:
    return [str(ipaddress.ip_address(address.host)) for address in found]


def test_every_address_of_every_interface_that_is_up_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both families, in a fixed order, each with the port asked for."""
    machine(
        monkeypatch,
        {
            "wlan0": [v4("192.168.1.20"), v6("2001:db8::20")],
            "eth0": [v4("10.0.0.5"), Assigned(psutil.AF_LINK, "02:00:00:00:00:01")],
            "lo": [v4("127.0.0.1"), v6("::1")],
        },
    )

    found = host_addresses(4711)

    assert hosts(found) == ["10.0.0.5", "127.0.0.1", "::1", "192.168.1.20", "2001:db8::20"]
    assert {address.port for address in found} == {4711}


def test_interfaces_that_lead_nowhere_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Down, gone meanwhile, or a bridge to this machine's own containers."""
    machine(
        monkeypatch,
        {
            "eth0": [v4("10.0.0.5")],
            "eth1": [v4("10.0.1.5")],
            "usb0": [v4("10.0.2.5")],
            **{f"{name}0": [v4("172.17.0.1")] for name in VIRTUAL},
        },
        down=("eth1",),
        unknown=("usb0",),
    )

    assert hosts(host_addresses(1)) == ["10.0.0.5"]


def test_link_local_addresses_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They mean something else on every interface; the scope behind the sign is no address."""
    machine(
        monkeypatch,
        {"eth0": [v6("fe80::1%eth0"), v4("169.254.7.7"), v6("2001:db8::7%eth0")]},
    )

    assert hosts(host_addresses(1)) == ["2001:db8::7"]


def test_this_computer_has_its_loopback() -> None:
    """What the system tells is understood."""
    assert "127.0.0.1" in hosts(host_addresses(1))
