"""What a submitter's machine remembers of its farm: the join code and the farm's id, in one file of mode 0600."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..common.errors import UsageError
from ..common.model import Role
from ..common.security import JoinCode, write_secret

NOT_LOGGED_IN = (
    "This machine is not logged in at a farm: type `clusterray login CODE` with the code that `clusterray join-code --role submit` "
    "prints on the server, or use `clusterray submit --local` for a farm of this machine alone."
)


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """The way to one farm, as one submitter."""

    code: str
    farm: str = ""
    """The farm's id, once it was met."""
    server: str = ""
    """Its name, for people."""

    @property
    def way(self) -> JoinCode:
        return checked_code(self.code)


def checked_code(text: str) -> JoinCode:
    """A code that lets submit or administer; UsageError for a broken one and for a node's."""
    code = JoinCode.decode(text.strip())
    if code.role is Role.NODE:
        raise UsageError(
            "This is a join code for nodes: use it with `clusterray node start --join CODE`; "
            "`clusterray join-code --role submit` on the server prints the one for submitters."
        )
    return code


class LoginFile:
    """Reads and writes the login in the client's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "login"

    def read(self) -> Login | None:
        """The login, or None where there is none."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"The login in {self.path} cannot be read: {error.strerror}.") from None
        try:
            return msgspec.json.decode(data, type=Login)
        except msgspec.DecodeError:
            raise UsageError(f"The login in {self.path} is damaged: log in again with `clusterray login CODE`.") from None

    def write(self, login: Login) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(self.path, msgspec.json.encode(login))


def find_login(file: LoginFile, variable: str) -> Login:
    """The remembered login; else the one in CLUSTERRAY_JOIN, for unattended set-ups. UsageError where there is neither."""
    login = file.read()
    if login is None and variable:
        login = Login(code=checked_code(variable).encode())
    if login is None:
        raise UsageError(NOT_LOGGED_IN)
    return login
