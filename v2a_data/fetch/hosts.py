"""Which addresses a download may ask: https on the recipe's hosts, and nothing inside the network it runs in."""

import ipaddress
import socket
import time
from urllib.parse import urlsplit

from v2a_data.recipe import LOOPBACK

_KEPT_S = 300.0
_MOST_KNOWN = 10_000
_KNOWN: dict[str, tuple[float, bool]] = {}


def allowed_url(url: str, hosts: tuple[str, ...]) -> bool:
    """True for https on a listed host or below it, and for http where the listed host is loopback."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    name = (parts.hostname or "").lower()
    loopback = name in LOOPBACK
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        return False
    return any(name == host or (not loopback and name.endswith("." + host)) for host in hosts)


class HostCheck:
    """Refuses addresses outside of a recipe's hosts.

    A name that is public when it is looked up and private when it is connected to gets past this; it then has to show
    a certificate for a listed host.
    """

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self.hosts = hosts
        self.refused = ""

    def __call__(self, url: str) -> bool:
        """Whether a URL may be asked; `refused` says why not."""
        if not allowed_url(url, self.hosts):
            self.refused = f"{_scheme_and_host(url)} is none of the recipe's fetch.hosts"
            return False
        name = (urlsplit(url).hostname or "").lower()
        if name not in LOOPBACK and not public(name):
            self.refused = f"{_scheme_and_host(url)} is an address inside a private network"
            return False
        return True


def public(name: str) -> bool:
    """Whether a host may be connected to; looked up once in a while."""
    looked_up, found = _KNOWN.get(name, (-_KEPT_S, False))
    if time.monotonic() - looked_up >= _KEPT_S:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        looked_up, found = _KNOWN[name] = time.monotonic(), _look_up(name)
    return found


def _look_up(name: str) -> bool:
    """False where a host's name stands for an address that is not public; a name that nobody knows is left to fail."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return all(ipaddress.ip_address(str(item[4][0]).partition("%")[0]).is_global for item in found)


def _scheme_and_host(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme[:20]}://{rest.partition('/')[0].rpartition('@')[2][:100]}"
