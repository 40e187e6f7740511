"""Downloads of data sets: files checked by their hash where it is known, and archives unpacked."""

import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path

from quant.errors import QuantError
from quant.files import replacing, using

TIMEOUT = 60
"""Seconds without an answer after which a download ends."""


@dataclass(frozen=True)
class Remote:
    """A file at ``url``, with its MD5 hash where that is known. ``unpack``: it is a tar archive, to be unpacked."""

    url: str
    md5: str | None = None
    unpack: bool = False

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1]


def fetch(remote: Remote, folder: Path) -> None:
    """Downloads a file into ``folder``, which is made where it is missing, and unpacks it.

    Raises QuantError where the source does not answer, the file has another hash, or the disk is full.
    """
    import urllib.error  # takes a tenth of a second
    import urllib.request

    with using(folder, "choose another folder", "cannot write to"):
        folder.mkdir(parents=True, exist_ok=True)
    place = folder / remote.name
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with (
            urllib.request.urlopen(remote.url, timeout=TIMEOUT) as answer,
            replacing(place) as part,
            part.open("wb") as file,
        ):
            while block := answer.read(1 << 20):
                digest.update(block)
                file.write(block)
            if remote.md5 is not None and digest.hexdigest() != remote.md5:
                raise QuantError(
                    f"{remote.url} has the MD5 hash {digest.hexdigest()}, not {remote.md5}: it is damaged or another "
                    f"version; get the file elsewhere and put it into {folder}"
                )
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise QuantError(f"cannot download {remote.url}: {reason}; copy the file to {folder} by other means") from error
    if remote.unpack:
        try:
            with tarfile.open(place) as archive, using(folder, "choose another folder", "cannot write to"):
                archive.extractall(folder, filter="data")
        except tarfile.TarError as error:
            raise QuantError(f"{place} is no whole archive ({error}): remove it and download it again") from error
        place.unlink()
