"""Who may talk to the farm: the server's key, the tokens of the three roles, the join codes that carry both.

The server makes its key once. A join code pins that key (sha256 of the public key), so that no certificate authority, no
name and no clock has to be right. Whatever is secret lies in a file of mode 0600 that appears whole or not at all.
Secrets are never part of an error's text: a code that does not decode is described, not repeated.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from .errors import AlreadyRunning, UsageError
from .model import Role

# --- files


def write_secret(path: Path, data: bytes | str) -> None:
    """Write a file of mode 0600 by a rename: after a crash the old one or the new one is there, whole and on the disk."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # the umask may have taken more away
            _hand_over(file.fileno(), path.parent)
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _hand_over(handle: int, folder: Path) -> None:
    """What root makes in a service's folder belongs to the service: else `sudo clusterray join-code --new` would lock it out."""
    if os.geteuid() == 0:
        stat = folder.stat()
        os.fchown(handle, stat.st_uid, stat.st_gid)


class FolderLock:
    """One process per data folder. The kernel drops the lock with the process, so nothing is stale after ``kill -9``.

    Take it after daemonising: the lock lives on the open file, and a daemon closes what it inherited.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "lock"
        self._handle: int | None = None

    def acquire(self) -> None:
        """AlreadyRunning names the process that has it."""
        if self._handle is not None:
            return
        import fcntl

        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            _hand_over(handle, self.folder)
        except OSError as error:
            raise UsageError(f"{self.folder} cannot be used as a data folder: {error.strerror}; choose another with --data.") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            os.close(handle)
            who = f"process {pid}" if pid.isdigit() else "another process"
            raise AlreadyRunning(f"{self.folder} is in use by {who}: stop that one first, or choose another folder with --data.") from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle

    def release(self) -> None:
        """Give the folder back. The file stays: removing it would let two processes lock two files of one name."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


# --- the server's key


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The server's key and certificate on disk, and the pin by which the others know it."""

    cert_path: Path
    key_path: Path
    pin: str


def make_identity(folder: Path) -> Identity:
    """The identity in this folder; made at the first call. A new one would end all join codes, so a lost half is an error."""
    key_path, cert_path = folder / "key.pem", folder / "cert.pem"
    if cert_path.exists() and not key_path.exists():
        raise UsageError(
            f"{key_path} is missing beside its certificate: restore it, or remove {cert_path} to make a new key "
            "(then every node and submitter needs a new join code)."
        )
    try:
        if not key_path.exists():
            write_secret(key_path, _new_key())
        if not cert_path.exists():
            write_secret(cert_path, _certificate(key_path))
        for path in (key_path, cert_path):
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)
        pin = pin_of(ssl.PEM_cert_to_DER_cert(cert_path.read_text("ascii")))
    except OSError as error:
        raise UsageError(f"The key in {folder} cannot be used ({error.strerror}): ask as the user that the server runs as.") from error
    except ValueError as error:
        raise UsageError(f"{cert_path} is no certificate: restore it, or remove it to have it made again from the key.") from error
    return Identity(cert_path=cert_path, key_path=key_path, pin=pin)


def _new_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(key_path: Path) -> bytes:
    """Self-signed, and valid for all times that a clock may show: nobody looks at the dates or the name."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{key_path} is no private key: restore it, or remove it to make a new one.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{key_path} is not an elliptic curve key, the kind that ClusterRay makes: remove it to make a new one.")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ClusterRay server")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(9999, 12, 31, 23, 59, 59))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def pin_of(der_certificate: bytes) -> str:
    """sha256 of the certificate's public key (SubjectPublicKeyInfo, DER) in hex: stays when a certificate is made again."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    public = x509.load_der_x509_certificate(der_certificate).public_key()
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def server_context(identity: Identity) -> ssl.SSLContext:
    """TLS 1.3 with the farm's certificate; no session tickets, as every link makes a full handshake and is long."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    try:
        context.load_cert_chain(identity.cert_path, identity.key_path)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"{identity.key_path} and {identity.cert_path} do not fit together: restore both from one backup.") from error
    return context


def client_context() -> ssl.SSLContext:
    """TLS 1.3 that accepts any certificate: worth nothing until the caller has compared ``pin_of`` with the pin."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# --- tokens


def new_token() -> str:
    """192 random bits, fit for a shell and a file."""
    return secrets.token_urlsafe(24)


def token_hash(token: str) -> str:
    """What may be stored where the token itself need not be."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_id(token: str) -> str:
    """The token's name in logs and owner columns: 12 hex digits of its hash."""
    return token_hash(token)[:12]


def same_token(a: str, b: str) -> bool:
    """Equality that takes the same time wherever the two differ."""
    return hmac.compare_digest(a.encode(), b.encode())


class Tokens:
    """The tokens that let in, by role, in ``tokens.json``. Safe for several threads, and for a command beside a running server.

    A role has one current token, the one that join codes carry, and for submitters any number of older ones that still
    hold: each is an owner of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tokens.json"
        self._guard = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._held: dict[str, list[str]] = {}

    def current(self, role: Role) -> str:
        """The token that a join code for this role carries; made at the first call."""
        with self._guard:
            held = self._read().get(role.value, [])
            return held[-1] if held else self._add(role, unless_held=True)

    def issue(self, role: Role) -> str:
        """One more token, now the current one; the others still hold. Its holder is a new owner."""
        with self._guard:
            return self._add(role)

    def renew(self, role: Role) -> str:
        """A new current token; the one that it replaces ends at once."""
        with self._guard:
            return self._add(role, drop_current=True)

    def revoke(self, token: str) -> bool:
        """End one token; whether it held."""
        with self._guard, self._changing() as held:
            found = [role for role, tokens in held.items() if any(same_token(token, other) for other in tokens)]
            for role in found:
                held[role] = [other for other in held[role] if not same_token(token, other)]
            return bool(found)

    def role_of(self, token: str) -> Role | None:
        """The role that a token opens. All are compared, so that the time tells nothing."""
        with self._guard:
            held = self._read()
        matches = [role for role in Role for other in held.get(role.value, []) if same_token(token, other)]
        return matches[0] if token and matches else None

    def _add(self, role: Role, *, drop_current: bool = False, unless_held: bool = False) -> str:
        with self._changing() as held:
            tokens = held.setdefault(role.value, [])
            if unless_held and tokens:  # another process was faster
                return tokens[-1]
            if drop_current and tokens:
                tokens.pop()
            tokens.append(new_token())
            return tokens[-1]

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, list[str]]]:
        """Read, let change, write, with every other process kept out meanwhile."""
        import fcntl

        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.path.with_name("tokens.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _hand_over(handle, self.path.parent)
            fcntl.flock(handle, fcntl.LOCK_EX)
            held = {role: list(tokens) for role, tokens in self._read().items()}
            yield held
            write_secret(self.path, json.dumps(held, indent=1) + "\n")
        finally:
            os.close(handle)

    def _read(self) -> dict[str, list[str]]:
        """What the file says; read again only when it is another file, as `join-code --new` leaves it."""
        try:
            stat = self.path.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen != self._seen:
                self._held = msgspec.json.decode(self.path.read_bytes(), type=dict[str, list[str]])
                self._seen = seen
        except FileNotFoundError:
            self._held, self._seen = {}, None
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read ({error.strerror}): ask as the user that the server runs as.") from error
        except ValueError as error:
            raise UsageError(f"{self.path} is no file of tokens: restore it, or remove it to make new ones.") from error
        return self._held


# --- join codes

_CODE = re.compile(r"cr(\d{1,3})-(.*)", re.DOTALL | re.IGNORECASE)
_CODE_VERSION = 1
_SUM = 4
_ROLES: Sequence[Role] = (Role.NODE, Role.SUBMIT, Role.ADMIN)
"""By number in a code: append only."""


class JoinCode(msgspec.Struct, frozen=True, kw_only=True):
    """All that a machine needs to join: where the server is, how to know it, and the token that admits.

    As text: ``cr1-`` and base64url of: length (2 bytes), role (1), pin (32), length of the token (1), token, addresses
    parted by commas; then 4 bytes of sha256 over all of it. Letters, digits, ``-`` and ``_`` only: any shell takes it as it is.
    """

    role: Role
    addresses: tuple[str, ...]
    pin: str
    token: str

    def encode(self) -> str:
        token, addresses = self.token.encode(), ",".join(self.addresses).encode()
        if not 0 < len(token) < 256 or len(addresses) > 4096 or not all(self.addresses):
            raise UsageError("A join code needs a token and at most 4 KiB of addresses.")
        body = bytes([_ROLES.index(self.role)]) + bytes.fromhex(self.pin) + bytes([len(token)]) + token + addresses
        data = (len(body) + _SUM).to_bytes(2, "big") + body
        return f"cr{_CODE_VERSION}-" + base64.urlsafe_b64encode(data + _checksum(data)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> JoinCode:
        """Read a code as people paste it, with quotes or broken over lines. UsageError says in what way it is wrong."""
        code = re.sub(r"[\s'\"<>]", "", text)
        match = _CODE.fullmatch(code)
        if match is None:
            raise UsageError(
                "This is no join code: one begins with cr1- and is a single word; `clusterray join-code` on the server prints it."
            )
        version, letters = int(match[1]), match[2]
        if version != _CODE_VERSION:
            raise UsageError(
                f"This join code is of version {version} and this program reads version {_CODE_VERSION}: "
                "install the same version of ClusterRay here and on the server."
            )
        if re.search(r"[^A-Za-z0-9_-]", letters):
            raise UsageError("This join code holds a character that no join code has: copy it again, whole.")
        return cls._of(_unpad(letters))

    @classmethod
    def _of(cls, data: bytes) -> JoinCode:
        if len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            raise UsageError("This join code is cut short: copy it again to its very end.")
        body, checksum = data[2:-_SUM], data[-_SUM:]
        if _checksum(data[:-_SUM]) != checksum:
            raise UsageError("This join code is mistyped (its checksum is wrong): copy it again, whole.")
        try:
            end = 34 + body[33]
            addresses = tuple(part for part in body[end:].decode().split(",") if part)
            return cls(role=_ROLES[body[0]], addresses=addresses, pin=body[1:33].hex(), token=body[34:end].decode())
        except (IndexError, UnicodeDecodeError) as error:
            raise UsageError("This join code was made by another version of ClusterRay: install the server's version here.") from error


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(b"clusterray join code" + data).digest()[:_SUM]


def _unpad(letters: str) -> bytes:
    letters = letters[:-1] if len(letters) % 4 == 1 else letters  # no length of bytes has one letter over: the end is missing
    return base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
