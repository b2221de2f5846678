"""yt-dlp's request handlers, their redirects checked before they are followed. One without such a check is left out."""

import ssl
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

Check = Callable[[str], None]
_contexts: dict[bool, ssl.SSLContext] = {}


def checked(given: Iterable[type], check: Check) -> list[type]:
    """Those of the given handlers that can be held to `check`, which raises for an address that is refused."""
    mixins = _mixins()
    return [
        type(handler.__name__, (mixin, handler), {"check": staticmethod(check)})
        for handler in given
        for base, mixin in mixins.items()
        if issubclass(handler, base)
    ]


@cache
def _mixins() -> dict[type, type]:
    from yt_dlp.networking._urllib import RedirectHandler, UrllibRH

    class Shared:
        check: Check

        def _make_sslcontext(self, legacy_ssl_support: bool | None = None) -> ssl.SSLContext:
            # Reading all certificates takes longer than the rest of a small download; they are the same for each.
            legacy = bool(legacy_ssl_support)
            if legacy not in _contexts:
                _contexts[legacy] = super()._make_sslcontext(legacy_ssl_support)  # type: ignore[misc]
            return _contexts[legacy]

    class CheckedUrllib(Shared):
        def _create_instance(self, *args: Any, **more: Any) -> Any:
            opener = super()._create_instance(*args, **more)  # type: ignore[misc]
            for handler in opener.handlers:
                if isinstance(handler, RedirectHandler):
                    handler.redirect_request = _before(handler.redirect_request, self.check)
            return opener

    class CheckedRequests(Shared):
        def _create_instance(self, *args: Any, **more: Any) -> Any:
            session = super()._create_instance(*args, **more)  # type: ignore[misc]
            session.rebuild_auth = _before_sending(session.rebuild_auth, self.check)
            return session

    mixins: dict[type, type] = {UrllibRH: CheckedUrllib}
    try:
        from yt_dlp.networking._requests import RequestsRH
    except ImportError:  # an optional package of yt-dlp
        return mixins
    return {**mixins, RequestsRH: CheckedRequests}


def _before(follow: Callable[..., Any], check: Check) -> Callable[..., Any]:
    """urllib's `redirect_request`, whose last argument is the new address."""

    def checked_first(*args: Any) -> Any:
        check(args[-1])
        return follow(*args)

    return checked_first


def _before_sending(rebuild: Callable[..., Any], check: Check) -> Callable[..., Any]:
    """What `requests` calls for each redirect with its whole address, before it is sent."""

    def checked_first(request: Any, response: Any) -> Any:
        check(request.url)
        return rebuild(request, response)

    return checked_first
