"""Where shards may lie: what of an address is refused before it is opened, shown or written down."""

from v2a_data.errors import UsageError

_ELSEWHERE = "credentials come from the environment or the service's own configuration files, as fsspec reads them"
# A question mark or a hash may be part of a name here.
_PLAIN = ("s3", "gs", "hf", "file")


def check_place(place: str, where: str = "") -> None:
    """Raise `UsageError` for a place that is empty, or an address that may hold a secret; the error repeats none."""
    at = f"{where}: " if where else ""
    if not place.strip():
        raise UsageError(f"{at}an empty place of shards", hint="name a folder of shards or an address")
    scheme, _, rest = place.partition("://")
    for part in place.split("://")[1:]:
        authority = part.replace("\\", "/").partition("/")[0].partition("?")[0].partition("#")[0]
        host, colon, port = authority.rpartition("@")[2].partition(":")
        odd = bool(colon) and not port.isdecimal() and not host.startswith("[")
        if "@" in authority or odd:
            shown = "…" if odd else host
            raise UsageError(f"{at}the address {_word(scheme)}://{shown} holds a user or password", hint=_ELSEWHERE)
    if rest and scheme not in _PLAIN and ("?" in rest or "#" in rest):
        host = rest.partition("/")[0].partition("?")[0].partition("#")[0]
        raise UsageError(f"{at}the address {_word(scheme)}://{host} holds a ? or #", hint=_ELSEWHERE)


def _word(scheme: str) -> str:
    return scheme if scheme.isalnum() else "…"
