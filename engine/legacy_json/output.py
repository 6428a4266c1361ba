"""The output file while it is being written: a text file that grows in the middle.

Workers write the text of their row-blocks straight to its offset. The offset of a row-block is
known as soon as all row-blocks before it have *published* the length of theirs, which each does
when its numbers are stored and formatted, before its text is put together. Row-blocks are begun in
order, so whoever waits for the length of one waits for a worker that is at it; where that worker
fails, the run ends those that may wait. A length that is damaged meanwhile is an error.

Beside ``.{name}.{identity}.partial``, the text, lies ``.{name}.{identity}.lengths``: what the text
is made from, and for each row-block the length of its text and, once it is written, its offset and
its CRC-32C. Both are hidden and belong together; the final name appears by rename when every
row-block is written where those before it make it belong. A killed export goes on from there: what
lies where it belongs and matches its checksum is not written again.
"""

import errno
import glob
import os
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, takewhile
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from engine.legacy_json.pairs import Piece
from engine.store.local import sync_folder

_HEADER = 64
_SLOT = struct.Struct("<qqqq")
_SLOT_SIZE = _SLOT.size + 4  # and a checksum of its own: all later offsets follow from a length
_PIECE = 2**22
_POLL = 0.002
_MOST_LOOKS = 100
"""At a damaged slot: of one that is just being written half may be read, but not for so long."""


class _Slot(NamedTuple):
    """What is known of the text of a row-block; zeros where nothing is."""

    length: int = 0
    """Bytes, plus 1."""
    offset: int = 0
    """Where it is written, plus 1."""
    checksum: int = 0
    """CRC-32C of what was written."""
    n_pairs: int = 0


_DAMAGED = _Slot(offset=-1)


@dataclass(frozen=True)
class PartialOutput:
    """An unfinished output file; small, and the same in every worker.

    Parameters
    ----------
    final
        Path at which the file will appear.
    identity
        Fingerprint (64 hexadecimal digits) of what the text is made from.
    n_row_blocks
        Number of row-blocks in the text.
    """

    final: Path
    identity: str
    n_row_blocks: int

    @property
    def text(self) -> Path:
        """The unfinished text."""
        return self._beside("partial")

    @property
    def lengths(self) -> Path:
        """What is known of the row-blocks of the text."""
        return self._beside("lengths")

    def _beside(self, what: str) -> Path:
        # Named after what it is made from: a worker of an earlier run, which nobody knows of any
        # more, may still write to the text that was made from something else.
        return self.final.with_name(f".{self.final.name}.{self.identity[:16]}.{what}")

    def prepare(self) -> list[int]:
        """Go on with what an earlier run left, if it was made from the same; else begin.

        Returns
        -------
        list[int]
            As from `written`.
        """
        slots = self._left()
        self._discard(keep=slots is not None)
        if slots is None:
            self.final.parent.mkdir(parents=True, exist_ok=True)
            self.text.touch()
            self.lengths.write_bytes(self.identity.encode() + _sealed(_Slot()) * self.n_row_blocks)
            slots = [_Slot()] * self.n_row_blocks
        for index, (slot, there) in enumerate(zip(slots, _in_place(slots), strict=True)):
            if slot.offset and not there:  # It is written again, and counts then.
                self._write_slot(index, _Slot(slot.length))
        return self.written()

    def written(self) -> list[int]:
        """For each row-block the pairs that are said to be written (`intact` tells if it is so).

        One without text has none: why none of its pairs was kept is known when it is done again.
        """
        slots = self._left()
        if slots is None:
            return [0] * self.n_row_blocks
        return [
            slot.n_pairs if there else 0
            for slot, there in zip(slots, _in_place(slots), strict=True)
        ]

    def _left(self) -> list[_Slot] | None:
        """What an earlier run left, if it was made from the same."""
        try:
            # What is no file may be a pipe, which would wait for its writer.
            content = self.lengths.read_bytes() if self.lengths.is_file() else b""
        except FileNotFoundError:
            return None
        if (
            len(content) != _HEADER + self.n_row_blocks * _SLOT_SIZE
            or content[:_HEADER] != self.identity.encode()
            or not self.text.is_file()
        ):
            return None
        return [
            _unpacked(content[at : at + _SLOT_SIZE])
            for at in range(_HEADER, len(content), _SLOT_SIZE)
        ]

    def discard(self) -> None:
        """Delete what is unfinished, whatever it was made from."""
        self._discard(keep=False)

    def _discard(self, *, keep: bool) -> None:
        mine = (self.lengths, self.text) if keep else ()
        for what in ("lengths", "partial"):
            # Without the middle those of earlier versions, which did not name what they were of.
            for path in self.final.parent.glob(f".{glob.escape(self.final.name)}*.{what}"):
                if path not in mine:
                    path.unlink(missing_ok=True)

    def _slots(self) -> list[_Slot]:
        slots = self._left()
        if slots is None:
            raise FileNotFoundError(
                errno.ENOENT, "the unfinished output was deleted or replaced", str(self.text)
            )
        return slots

    def _damaged(self) -> OSError:
        return OSError(errno.EIO, "the lengths of its row-blocks are damaged", str(self.final))

    def _write_slot(self, index: int, known: _Slot) -> None:
        slot = _sealed(known)
        with open(self.lengths, "r+b", buffering=0) as file, _naming(self.lengths):
            _write(file.fileno(), slot, _HEADER + index * _SLOT_SIZE)

    def publish(self, index: int, length: int) -> None:
        """Say how long the text of a row-block is, in bytes."""
        self._write_slot(index, _Slot(length + 1))

    def offset(self, index: int) -> int:
        """Find the offset of a row-block's text, in bytes; wait for those before it if need be."""
        looks = 0
        while len(known := _offsets(before := self._slots()[:index])) <= index:
            looks = looks + 1 if _DAMAGED in before else 0
            if looks > _MOST_LOOKS:
                raise self._damaged()
            time.sleep(_POLL)
        return known[index]

    def write(self, index: int, offset: int, pieces: Iterable[Piece], n_pairs: int) -> None:
        """Write the text of a row-block, piece by piece, at its offset, then that it is there."""
        found = length = 0
        with open(self.text, "r+b", buffering=0) as file, _naming(self.final):
            for piece in pieces:
                if offset + length == 0:
                    # The file begins with "{" where every other pair has ", " before it.
                    _write(file.fileno(), b"{", 0)
                    _write(file.fileno(), piece[2:], 1)
                else:
                    _write(file.fileno(), piece, offset + length - 1)
                found = google_crc32c.extend(found, piece)
                length += len(piece)
        self._write_slot(index, _Slot(length + 1, offset + 1, found, n_pairs))

    def intact(self, index: int) -> bool:
        """Whether the text of a row-block is where it belongs, as it was written."""
        slots = self._slots()
        slot = slots[index]
        if not _in_place(slots)[index]:
            return False
        return checksum(self.text, slot.offset - 1, slot.length - 1) == slot.checksum

    def finish(self) -> tuple[os.stat_result, int] | None:
        """Close the text, make sure that it is on the disk, and tell its size and time stamp.

        Returns
        -------
        tuple[os.stat_result, int] or None
            Of the file that `appear` will put at its final name, and the number of pairs in it;
            None when a row-block is not written where it belongs.
        """
        slots = self._slots()
        if _DAMAGED in slots:
            raise self._damaged()
        if not all(_in_place(slots)):
            return None
        total = max(2, _offsets(slots)[-1])
        with open(self.text, "r+b", buffering=0) as file, _naming(self.final):
            _write(file.fileno(), b"{", 0)
            _write(file.fileno(), b"}", total - 1)
            file.truncate(total)
            os.fsync(file.fileno())
            return os.fstat(file.fileno()), sum(slot.n_pairs for slot in slots)

    def appear(self) -> None:
        """Give the finished text its final name."""
        os.replace(self.text, self.final)
        sync_folder(self.final.parent)
        self.lengths.unlink(missing_ok=True)


def _sealed(known: _Slot) -> bytes:
    slot = _SLOT.pack(*known)
    return slot + int(google_crc32c.value(slot)).to_bytes(4, "little")


def _unpacked(slot: bytes) -> _Slot:
    if google_crc32c.value(slot[: _SLOT.size]) != int.from_bytes(slot[_SLOT.size :], "little"):
        return _DAMAGED
    return _Slot(*_SLOT.unpack_from(slot))


def _offsets(slots: Iterable[_Slot]) -> list[int]:
    """Return the offset of each text and the end of the last, up to one of unknown length."""
    known = takewhile(bool, (slot.length for slot in slots))
    return [*accumulate((length - 1 for length in known), initial=0)]


def _in_place(slots: Sequence[_Slot]) -> list[bool]:
    """Return for each row-block whether its text is written where those before it make it belong.

    A length can change: a chunk that is damaged after its text was written, and computed again on
    another kind of CPU, may have longer numbers. The texts below it are then not where they belong.
    """
    offsets = _offsets(slots)
    return [k < len(offsets) and slot.offset == offsets[k] + 1 for k, slot in enumerate(slots)]


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have errors of writing (a full disk) say which file was written."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _write(descriptor: int, data: Piece, offset: int) -> None:
    view = memoryview(data)  # type: ignore[arg-type]  # An array is a buffer, since 3.12 by its type.
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def checksum(path: Path, offset: int, length: int) -> int:
    """CRC-32C of a piece of the text of all pairs, as it stands in a file.

    Parameters
    ----------
    path
        The file, finished or not.
    offset, length
        Of the piece, in bytes of the text in which each pair, the first too, begins with ``, ``;
        in the file it lies one byte further to the left.

    Returns
    -------
    int
        The checksum; -1 when the file is too short.
    """
    found = 0
    if offset == 0 and length:
        # The file begins with "{" in place of the first ", ".
        found, offset, length = google_crc32c.extend(found, b", "), 2, length - 2
    with open(path, "rb", buffering=0) as file:
        while length:
            piece = os.pread(file.fileno(), min(length, _PIECE), offset - 1)
            if not piece:
                return -1
            found = google_crc32c.extend(found, piece)
            offset, length = offset + len(piece), length - len(piece)
    return found
