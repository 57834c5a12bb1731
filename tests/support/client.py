"""HTTP clients that take the site's certificate as it is."""

from __future__ import annotations

import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter

# One for all connections: to make one reads every CA of the machine, which takes a core 50 ms.
_TRUSTING = ssl.create_default_context()
_TRUSTING.check_hostname = False
_TRUSTING.verify_mode = ssl.CERT_NONE


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=_TRUSTING, **options)


def trusting() -> requests.Session:
    """A session that checks no certificate."""
    session = requests.Session()
    session.verify = False
    # The environment may name a CA bundle, which would win over that.
    session.trust_env = False
    session.mount("https://", _Adapter())
    return session
