# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judgements about certificates, on the controller. ``cryptography`` comes with ansible-core. Pure."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
from collections.abc import Iterator, Sequence

# ansible-core depends on it; only ansible-test loads this file where it is not installed.
with contextlib.suppress(ImportError):
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

#: A certificate of ours is made anew when fewer days than this are left.
RENEW_DAYS = 30


def certificate_problem(
    certificate: bytes,
    key: bytes,
    now: datetime.datetime,
    names: Sequence[str] = (),
    issuer: bytes | None = None,
    days: int = 0,
) -> str | None:
    """What is wrong with a PEM *certificate* and its *key*, or None.

    *names* are wanted subject alternative names (``DNS:x``, ``IP:y``); *issuer* is the PEM of the CA
    that must have signed it; *days* is how many it must still be good for.
    """
    try:
        leaf = x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        return f"the certificate cannot be read: {error}"
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return f"the key cannot be read: {error}"
    if _spki(leaf.public_key()) != _spki(private.public_key()):
        return "the certificate does not match the key: it was made for another one"
    left = leaf.not_valid_after_utc - now
    if left <= datetime.timedelta(days=days):
        return f"the certificate ends on {leaf.not_valid_after_utc:%Y-%m-%d}"
    absent = [name for name in names if name not in set(_alt_names(leaf))]
    if absent:
        return f"the certificate is not good for {', '.join(absent)}"
    if issuer is not None:
        try:
            leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(issuer))
        except (ValueError, TypeError, InvalidSignature):
            return "the certificate was issued by another CA"
    return None


def _alt_names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in names:
        if isinstance(name, x509.DNSName):
            yield f"DNS:{name.value}"
        elif isinstance(name, x509.IPAddress):
            yield f"IP:{ipaddress.ip_address(str(name.value))}"


def _spki(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]
