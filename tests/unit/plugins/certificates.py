# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and keys for tests, made on the spot."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)


def new_key() -> EllipticCurvePrivateKey:
    """A private key."""
    return generate_private_key(SECP256R1())


def issue(
    key: EllipticCurvePrivateKey,
    signer: EllipticCurvePrivateKey,
    now: datetime.datetime,
    *,
    names: Sequence[str] = (),
    subject: str = "pg1",
    days: int = 825,
) -> bytes:
    """A PEM certificate of *key* for *names* (``DNS:x``, ``IP:y``), good for *days* after *now*."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + datetime.timedelta(days=days))
    )
    if names:
        given: list[x509.GeneralName] = [
            x509.DNSName(name[4:]) if name.startswith("DNS:") else x509.IPAddress(ipaddress.ip_address(name[3:]))
            for name in names
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(given), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


def pem(key: EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    """A key as it lies in a file, encrypted if there is a *password*."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
