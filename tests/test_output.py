"""The unfinished output: any order of writing, any interruption, one and the same text."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.legacy_json.output import PartialOutput, checksum

IDENTITY = "a1" * 32
Blocks = list[list[bytes]]

row = st.binary(min_size=1, max_size=9).map(lambda text: b", " + text)
blocks = st.lists(st.lists(row, max_size=4), max_size=6)


def begin(path: Path, blocks: Blocks, identity: str = IDENTITY) -> PartialOutput:
    output = PartialOutput(path, identity, len(blocks))
    output.prepare()
    return output


def publish(output: PartialOutput, index: int, rows: list[bytes]) -> None:
    output.publish(index, sum(map(len, rows)))


def write(output: PartialOutput, index: int, rows: list[bytes]) -> None:
    output.write(index, output.offset(index), rows, len(rows))


def text(blocks: Blocks) -> bytes:
    rows = list(itertools.chain.from_iterable(blocks))
    return b"{" + b", ".join(row.removeprefix(b", ") for row in rows) + b"}"


def finish(output: PartialOutput) -> tuple[os.stat_result, int]:
    finished = output.finish()
    assert finished is not None
    output.appear()
    return finished


@given(blocks, st.randoms(use_true_random=False))
def test_row_blocks_published_and_written_in_any_order_make_the_text(
    tmp_path_factory: pytest.TempPathFactory, blocks: Blocks, random: Random
) -> None:
    path = tmp_path_factory.mktemp("output") / "x.json"
    output = begin(path, blocks)
    order = list(range(len(blocks)))
    random.shuffle(order)
    for index in order:
        publish(output, index, blocks[index])
    random.shuffle(order)
    for index in order:
        write(output, index, blocks[index])
    found, pairs = finish(output)
    assert path.read_bytes() == text(blocks)
    assert pairs == sum(map(len, blocks))
    there = path.stat()
    assert (found.st_size, found.st_mtime_ns) == (there.st_size, there.st_mtime_ns)
    assert os.listdir(path.parent) == ["x.json"]


@given(blocks, st.data())
def test_an_interrupted_output_goes_on_where_it_was(
    tmp_path_factory: pytest.TempPathFactory, blocks: Blocks, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("output") / "x.json"
    output = begin(path, blocks)
    n_published = data.draw(st.integers(0, len(blocks)))
    for index in range(n_published):
        publish(output, index, blocks[index])
    written = data.draw(st.sets(st.integers(0, max(0, n_published - 1)), max_size=n_published))
    for index in written:
        write(output, index, blocks[index])
    again = PartialOutput(path, IDENTITY, len(blocks))
    # One without text has nothing that could be in place.
    assert again.prepare() == [
        len(rows) if index in written else 0 for index, rows in enumerate(blocks)
    ]
    for index, rows in enumerate(blocks):
        assert again.intact(index) == (index in written)
        if index not in written:
            publish(again, index, rows)
            write(again, index, rows)
    finish(again)
    assert path.read_bytes() == text(blocks)


ROWS: Blocks = [[b", a", b", bc"], [b", def"], [], [b", g", b", hij"]]


@pytest.fixture
def output(tmp_path: Path) -> PartialOutput:
    """An output of which all is in place and which has not appeared."""
    output = begin(tmp_path / "x.json", ROWS)
    for index, rows in enumerate(ROWS):
        publish(output, index, rows)
        write(output, index, rows)
    return output


def test_no_row_blocks_give_an_empty_object(tmp_path: Path) -> None:
    finish(begin(tmp_path / "x.json", []))
    assert (tmp_path / "x.json").read_bytes() == b"{}"


def test_nothing_stands_at_the_final_path_before_all_is_in_place(tmp_path: Path) -> None:
    output = begin(tmp_path / "x.json", ROWS)
    for index, rows in enumerate(ROWS):
        assert output.finish() is None
        publish(output, index, rows)
        assert output.finish() is None
        write(output, index, rows)
    assert not output.final.exists()
    finish(output)
    assert output.final.read_bytes() == text(ROWS) == b"{a, bc, def, g, hij}"


def test_an_older_output_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"old")
    output = begin(tmp_path / "x.json", ROWS)
    for index, rows in enumerate(ROWS):
        publish(output, index, rows)
        write(output, index, rows)
        assert output.final.read_bytes() == b"old"
    finish(output)
    assert output.final.read_bytes() == text(ROWS)


@pytest.mark.parametrize(("identity", "n"), [("b2" * 32, 4), (IDENTITY, 5)])
def test_what_was_made_from_something_else_is_begun_anew(
    output: PartialOutput, identity: str, n: int
) -> None:
    other = PartialOutput(output.final, identity, n)
    assert other.written() == [0] * n
    assert other.prepare() == [0] * n
    assert other.text.read_bytes() == b""


@pytest.mark.parametrize("lost", ["text", "lengths"])
def test_an_output_that_lost_one_of_its_files_is_begun_anew(
    output: PartialOutput, lost: str
) -> None:
    getattr(output, lost).unlink()
    assert output.prepare() == [0] * 4


def test_a_flipped_bit_is_noticed_in_the_row_block_where_it_is(output: PartialOutput) -> None:
    whole = output.text.read_bytes()
    owner = [0] * 6 + [1] * 5 + [3] * 8
    for at, index in enumerate(owner[: len(whole)]):
        damaged = bytearray(whole)
        damaged[at] ^= 4
        output.text.write_bytes(damaged)
        intact = [output.intact(k) for k in range(4)]
        if at:  # the brace at the beginning is written when the text is finished
            assert intact == [k != index for k in range(4)]
    output.text.write_bytes(whole)
    assert all(output.intact(k) for k in range(4))


def test_a_text_that_is_cut_short_is_noticed(output: PartialOutput) -> None:
    os.truncate(output.text, 8)
    assert [output.intact(k) for k in range(4)] == [True, False, True, False]


def test_the_offset_of_a_row_block_is_known_when_all_before_it_have_published(
    tmp_path: Path,
) -> None:
    output = begin(tmp_path / "x.json", ROWS)
    publish(output, 0, ROWS[0])
    publish(output, 2, ROWS[2])
    assert [output.offset(index) for index in range(2)] == [0, 7]
    publish(output, 1, ROWS[1])
    assert [output.offset(index) for index in range(4)] == [0, 7, 12, 12]


class Waits:
    """In place of the pauses of whoever waits for a length: what happens meanwhile."""

    def __init__(self, *events: Callable[[], object]) -> None:
        self._events = iter(events)
        self.n = 0

    def __call__(self, seconds: float) -> None:
        self.n += 1
        assert self.n < 10_000, "it is waited for without end"
        next(self._events, lambda: None)()


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Waits]:
    """Have something happen in each pause, one after the other, and then nothing any more."""

    def use(*events: Callable[[], object]) -> Waits:
        waits = Waits(*events)
        monkeypatch.setattr("engine.legacy_json.output.time", SimpleNamespace(sleep=waits))
        return waits

    return use


def test_a_row_block_waits_for_those_before_it(
    tmp_path: Path, meanwhile: Callable[..., Waits]
) -> None:
    output = begin(tmp_path / "x.json", ROWS)
    waits = meanwhile(*[list] * 1000, lambda: publish(output, 0, ROWS[0]))
    assert output.offset(1) == 7
    assert waits.n == 1001


@given(blocks.filter(bool), st.data())
def test_whatever_other_length_a_text_had_the_next_round_mends_what_it_moved(
    tmp_path_factory: pytest.TempPathFactory, blocks: Blocks, data: st.DataObject
) -> None:
    # As when its numbers were damaged, and another kind of CPU computes longer ones: its text then
    # reaches into the next, or the next is written where it would have been.
    path = tmp_path_factory.mktemp("output") / "x.json"
    output = begin(path, blocks)
    changed = data.draw(st.integers(0, len(blocks) - 1))
    other = data.draw(st.lists(row, max_size=4))
    before = [*blocks[:changed], other, *blocks[changed + 1 :]]
    late = data.draw(st.sets(st.integers(changed, len(blocks) - 1)))
    for index, rows in enumerate(before):
        publish(output, index, rows)
    offsets = [output.offset(index) for index in range(len(blocks))]
    for index in set(range(len(blocks))) - late:
        write(output, index, before[index])
    publish(output, changed, blocks[changed])
    order = data.draw(st.permutations(sorted({changed, *late})))
    for index in order:
        if index == changed:
            write(output, index, blocks[index])
        else:  # Its offset was found before.
            output.write(index, offsets[index], blocks[index], len(blocks[index]))
    moved = sum(map(len, other)) != sum(map(len, blocks[changed])) and changed + 1 < len(blocks)
    assert (output.finish() is None) == moved
    for index, rows in enumerate(blocks):
        if not (output.written()[index] and output.intact(index)):
            publish(output, index, rows)
            write(output, index, rows)
    finish(output)
    assert path.read_bytes() == text(blocks)


def damage(output: PartialOutput, index: int, *, lost: bool = False) -> None:
    """Flip a bit of what is known of a row-block, or put zeros there, as of a lost page."""
    content = bytearray(output.lengths.read_bytes())
    size = (len(content) - 64) // output.n_row_blocks
    at = 64 + index * size
    if lost:
        content[at : at + size] = bytes(size)
    else:
        content[at + 6] ^= 4
    output.lengths.write_bytes(content)


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("lost", [True, False])
def test_nobody_waits_for_a_length_that_is_damaged(
    tmp_path: Path, lost: bool, published: bool, meanwhile: Callable[..., Waits]
) -> None:
    output = begin(tmp_path / "x.json", ROWS)
    if published:
        publish(output, 0, ROWS[0])
    damage(output, 0, lost=lost)
    meanwhile()
    with pytest.raises(OSError, match="damaged") as error:
        output.offset(1)
    assert error.value.filename == str(output.final)
    # The next run takes the row-block up again, and whoever is below it waits for that.
    assert output.prepare() == [0] * 4
    meanwhile(*[list] * 1000, lambda: publish(output, 0, ROWS[0]))
    assert output.offset(1) == 7


def test_a_length_of_which_half_is_written_is_waited_for_again_and_again(
    tmp_path: Path, meanwhile: Callable[..., Waits]
) -> None:
    output = begin(tmp_path / "x.json", ROWS)

    def half() -> None:
        damage(output, 0)

    def whole() -> None:
        publish(output, 0, ROWS[0])

    waits = meanwhile(*[half, output.prepare] * 200, half, whole)
    assert output.offset(1) == 7
    assert waits.n == 402


@pytest.mark.parametrize("index", range(4))
def test_what_is_damaged_at_the_end_is_an_error_and_not_another_round(
    index: int, output: PartialOutput
) -> None:
    damage(output, index)
    with pytest.raises(OSError, match="damaged"):
        output.finish()


def test_what_counts_as_written_is_not_more_when_the_damage_is_mended(
    output: PartialOutput,
) -> None:
    assert output.written() == [2, 1, 0, 2]
    damage(output, 1)
    # The texts below it are written again, because nobody knows where they belong.
    assert output.prepare() == [2, 0, 0, 0]
    publish(output, 1, ROWS[1])
    assert output.written() == [2, 0, 0, 0]


def test_an_output_that_is_deleted_while_it_is_written_is_an_error(tmp_path: Path) -> None:
    output = begin(tmp_path / "x.json", ROWS)
    output.discard()
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        output.offset(0)


def test_checksums_of_the_finished_file_are_those_of_its_row_blocks(output: PartialOutput) -> None:
    offsets = [output.offset(index) for index in range(4)]
    before = [
        checksum(output.text, offset, sum(map(len, rows)))
        for offset, rows in zip(offsets, ROWS, strict=True)
    ]
    finish(output)
    after = [
        checksum(output.final, offset, sum(map(len, rows)))
        for offset, rows in zip(offsets, ROWS, strict=True)
    ]
    assert before == after
    assert checksum(output.final, 0, 10**6) == -1
