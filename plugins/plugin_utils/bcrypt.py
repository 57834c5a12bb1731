# Copyright: (c) 2026, The renfo.redundancy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bcrypt by the C library's libcrypt, which every Debian has; Python's own ``crypt`` is gone with 3.13."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import string

ROUNDS = 10
#: bcrypt looks at no more.
LONGEST = 72
_STANDARD = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
_BCRYPT = "./" + string.ascii_uppercase + string.ascii_lowercase + string.digits


class BcryptError(Exception):
    """No hash could be made."""


def bcrypt_hash(password: str, context: str) -> str:
    """The bcrypt hash of *password*, the same one each time, so that a second run changes nothing.

    The salt is made of the password and *context* by scrypt. By a plain digest it would give the password away to
    who tries many: a digest is much faster to try than bcrypt.
    """
    secret = password.encode()
    if not secret or b"\0" in secret or len(secret) > LONGEST:
        raise BcryptError(f"found a password of {len(secret)} bytes, expected 1 to {LONGEST}, none of them zero")
    salt = hashlib.scrypt(secret, salt=f"renfo.redundancy {context}".encode(), n=2**14, r=8, p=1, dklen=16)
    encoded = base64.b64encode(salt).decode().rstrip("=").translate(str.maketrans(_STANDARD, _BCRYPT))
    wanted = f"$2b${ROUNDS:02}${encoded}"
    made = _crypt(secret, wanted.encode())
    if not made.startswith(f"$2b${ROUNDS:02}$"):
        raise BcryptError(
            "libcrypt.so.1 of this machine makes no bcrypt hash. The controller must be a Debian 12 or 13"
        )
    return made


def _crypt(secret: bytes, setting: bytes) -> str:
    try:
        crypt = ctypes.CDLL("libcrypt.so.1").crypt
    except OSError as error:
        raise BcryptError(f"{error}. Install libcrypt1 on this controller") from error
    crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    crypt.restype = ctypes.c_char_p
    return (crypt(secret, setting) or b"").decode()
