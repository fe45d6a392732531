"""The rules of the pages that this project serves itself: which port, and by which names browsers may call it."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import suppress

from configs import UserError
from configs.console import tell

PORTS_TRIED = 20
LOCAL = ("127.0.0.1", "localhost", "::1")


def warn(host: str) -> None:
    """Say so where other machines can reach the pages."""
    if host not in LOCAL:
        tell(f"warning: other machines may reach {host}, and these pages have no password", err=True)


def address(host: str, port: int) -> str:
    """As a browser takes it."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def shown(address: str) -> str:
    """An address for people: of all addresses the machine's name."""
    return address.replace("//0.0.0.0:", f"//{socket.gethostname()}:")


def names(host: str, port: int) -> list[str]:
    """What browsers may call this machine: its exact names and addresses, without the port and with it. Another name
    would be that of a page elsewhere which has its own name point here (DNS rebinding).

    A name may end with a dot, which says that it is whole. In letters browsers write it small; of capital ones only the
    machine's own spelling is taken.
    """
    own = {host, "127.0.0.1", "localhost", "::1"} - {"0.0.0.0", "::"}
    if host not in LOCAL:
        own |= {socket.gethostname(), socket.getfqdn()}
        with suppress(OSError):
            own |= {str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)}
    told = {spelt for name in own for spelt in _spelt(name)}
    return sorted(name + end for name in told for end in ("", f":{port}"))


def _spelt(name: str) -> set[str]:
    """The ways in which a request may write a name or an address."""
    if ":" in name:
        return {f"[{name}]"}
    dots = ("",) if name.replace(".", "").isdecimal() else ("", ".")
    return {each + dot for each in (name, name.lower()) for dot in dots}


def desktop() -> bool:
    """Whether a person sits here with a browser in a window; one in the terminal would take it from us."""
    window = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return sys.stdout.isatty() and (window or sys.platform in ("darwin", "win32"))


def free_port(host: str, asked: int | None, first: int) -> int:
    """The port that was asked for, or the first free one from `first` on, with a word. Raises UserError."""
    if asked is not None:
        if _busy(host, asked):
            raise UserError(f"port {asked} on {host} is in use: name another with --port, or leave --port out")
        return asked
    for port in range(first, first + PORTS_TRIED):
        if not _busy(host, port):
            if port != first:
                tell(f"port {first} is in use: taking {port}", err=True)
            return port
    raise UserError(f"no port from {first} to {first + PORTS_TRIED - 1} is free on {host}: name one with --port")


def _busy(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            raise UserError(f"port {port} is not for ordinary users: name one above 1023 with --port") from None
        except socket.gaierror:
            raise UserError(f"--host {host} is not an address of this machine") from None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise UserError(f"--host {host} is not an address of this machine") from None
            return True
    return False
