"""The addresses of this machine's interfaces."""

import ipaddress
import socket
from typing import Final

import psutil

from protocol.messages.rendezvous import Address

VIRTUAL: Final = ("docker", "br-", "virbr", "veth", "cni", "flannel", "podman")
"""Beginnings of the names of interfaces that lead to this machine's own containers."""


def host_addresses(port: int) -> list[Address]:
    """Return the unicast addresses of all interfaces that are up, each with *port*.

    Link-local addresses are left out: without an interface they reach nobody.
    """
    states = psutil.net_if_stats()
    found: list[Address] = []
    for name, assigned in sorted(psutil.net_if_addrs().items()):
        state = states.get(name)
        if state is None or not state.isup or name.startswith(VIRTUAL):
            continue
        for each in assigned:
            if each.family not in {socket.AF_INET, socket.AF_INET6}:
                continue
            host = ipaddress.ip_address(each.address.partition("%")[0])
            if not host.is_link_local:
                found.append(Address(host.packed, port))
    return found
