"""A store behind a URL: the same bytes and the same resume, one sentence for each error, and
nothing of credentials anywhere. A real S3-compatible server answers on this machine."""

import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from clusters import SECRETS, Bucket, Outcome, free_port, held, needs, run
from reference import expected, films, outputs, put
from waiting import within

from engine.errors import StoreError
from engine.store.location import checked, masked
from engine.store.store import Store

URL = "s3://films/similarities.zarr"

# --- URLs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://key:secret@bucket/a.zarr", "s3://…@bucket/a.zarr"),
        ("sftp://me:pass:word@host/a.zarr", "sftp://…@host/a.zarr"),
        ("abfs://box/a.zarr?sig=abc&se=2", "abfs://box/a.zarr?…&…"),
        ("https://me@host/a?token=abc", "https://me@host/a?…"),
        ("s3://bucket/a@b:c.zarr", "s3://bucket/a@b:c.zarr"),
        ("sftp://me@host/a.zarr", "sftp://me@host/a.zarr"),
        ("/a?b=c/d&e=f.zarr", "/a?b=c/d&e=f.zarr"),
    ],
)
def test_what_may_be_a_secret_in_a_url_is_masked(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert masked(f"cannot open {url!r}") == f"cannot open {shown!r}"


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket/a.zarr", "abfs://box/a.zarr?sig=secret", "memory://a.zarr"]
)
def test_a_url_that_tells_a_secret_or_is_of_use_to_nobody_is_refused_without_repeating_it(
    url: str,
) -> None:
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert "secret" not in str(caught.value)


def test_a_file_url_is_the_store_at_its_path(tmp_path: Path) -> None:
    assert checked("file:///a/b%20c.zarr") == "/a/b c.zarr"
    assert Store(f"file://{tmp_path}/a.zarr").path == tmp_path / "a.zarr"
    assert checked("s3://bucket/b%20c.zarr/") == "s3://bucket/b%20c.zarr"


@needs("fsspec")
@pytest.mark.parametrize("url", ["nosuch://a/b.zarr", "s4://films/a.zarr"])
def test_a_protocol_that_nobody_speaks_is_one_sentence(url: str) -> None:
    with pytest.raises(StoreError, match=f"^{url}: cannot be used as a store"):
        Store(url).exists()


# --- A real server ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    bucket = Bucket(tmp_path_factory.mktemp("bucket"))
    yield bucket
    bucket.server.end()


@pytest.fixture
def bucket(server: Bucket) -> Bucket:
    server.empty()
    return server


def put_films(data: Path) -> Path:
    put(data, "genres", "1990", films(0))
    put(data, "genres", "2000", films(300, 8))
    put(data, "other", "2000", films(20, 3))
    return data


@cache
def wanted() -> dict[str, bytes]:
    """What the notebook makes of these films."""
    with TemporaryDirectory() as folder:
        return expected(put_films(Path(folder)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return put_films(tmp_path / "data")


@dataclass(frozen=True)
class Finished:
    """What a run leaves; nobody changes it."""

    outcome: Outcome
    data: Path
    keys: dict[str, bytes]


@pytest.fixture(scope="module")
def finished(server: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run with two workers, from nothing to its end."""
    server.empty()
    data = put_films(tmp_path_factory.mktemp("finished") / "data")
    outcome = finish(server, data, "--workers", 2, "--verbose")
    return Finished(outcome, data, {key: server.ask("GET", key) for key in server.listed()})


@pytest.fixture
def done(bucket: Bucket, finished: Finished, tmp_path: Path) -> Path:
    """A folder with its outputs and a bucket with its store, as that run left them."""
    for key, content in finished.keys.items():
        bucket.ask("PUT", key, content)
    return Path(shutil.copytree(finished.data, tmp_path / "data"))


def finish(bucket: Bucket, data: Path, *arguments: object) -> Outcome:
    outcome = run(data, "--store", URL, *arguments, environment=bucket.environment).wait()
    assert (outcome.status, outcome.errors) == (0, [])
    return outcome


s3 = needs("moto", "flask", "s3fs")


@s3
def test_the_bytes_are_the_notebooks_and_nothing_of_the_credentials_is_kept(
    finished: Finished,
) -> None:
    assert outputs(finished.data) == wanted()
    assert list(finished.data.glob("*.zarr*")) == []
    kept = dict(finished.keys)
    kept |= {str(path): path.read_bytes() for path in finished.data.rglob("*") if path.is_file()}
    kept["said"] = (finished.outcome.stdout + finished.outcome.stderr).encode()
    for secret in SECRETS.values():
        assert not [name for name in kept if secret.encode() in kept[name]]


@s3
def test_finished_work_is_not_done_again(bucket: Bucket, done: Path) -> None:
    before = bucket.listed()
    assert "3 decades up to date" in finish(bucket, done).stdout
    assert bucket.listed() == before
    assert "every chunk matches" in finish(bucket, done, "--verify").stdout


@s3
def test_damaged_chunks_are_noticed_and_they_alone_are_computed_again(
    bucket: Bucket, done: Path
) -> None:
    shutil.rmtree(done / "similarities")
    good = {key: bucket.ask("GET", key) for key in bucket.listed("/similarities/c/")}
    flipped, truncated, emptied, deleted = sorted(good)
    content = good[flipped]
    bucket.ask("PUT", flipped, content[:99] + bytes([content[99] ^ 1]) + content[100:])
    bucket.ask("PUT", truncated, good[truncated][:-9])
    bucket.ask("PUT", emptied, b"")
    bucket.ask("DELETE", deleted)
    outcome = finish(bucket, done)
    assert "genres 2000s: 2 damaged chunks computed again" in outcome.stderr
    assert "genres 2000s: 1 damaged chunk computed again" in outcome.stderr
    assert "other 2000s: 1 damaged chunk computed again" in outcome.stderr
    assert outputs(done) == wanted()
    assert {key: bucket.ask("GET", key) for key in bucket.listed("/similarities/c/")} == good


@s3
def test_two_runs_of_one_machine_are_kept_apart_and_a_killed_one_is_resumed(
    bucket: Bucket, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    put(data, "genres", "2000", films(300, 8))
    (hold := tmp_path / "hold").touch()
    first = run(data, "--store", URL, prepare=held(hold), environment=bucket.environment)
    within(lambda: bucket.listed("/checksums/c/"))
    second = run(data, "--store", URL, environment=bucket.environment).wait()
    assert second.status == 1
    assert "another run is at work on it" in second.errors[0]
    first.kill(signal.SIGKILL)
    first.wait()
    rows = {
        key.rpartition("/")[0].replace("checksums", "similarities")
        for key in bucket.listed("/checksums/c/")
    }
    finished = {
        key: when
        for key, when in bucket.listed("/similarities/c/").items()
        if key.rpartition("/")[0] in rows
    }
    assert finished
    finish(bucket, data)
    assert outputs(data) == expected(data)
    assert finished.items() <= bucket.listed("/similarities/c/").items()


@s3
def test_forgetting_a_decade_leaves_those_alone_whose_names_its_name_would_match(
    bucket: Bucket, done: Path
) -> None:
    put(done, "gen*", "2000", films(5))
    finish(bucket, done, "--approach", "gen*")
    before = bucket.listed("/genres/")
    assert len(before) > 5
    finish(bucket, done, "--restart", "--approach", "gen*")
    assert bucket.listed("/genres/") == before


@s3
def test_a_bucket_with_something_else_in_it_is_left_alone(bucket: Bucket, data: Path) -> None:
    bucket.ask("PUT", "somebody's/file", b"")
    outcome = run(data, "--store", "s3://films", environment=bucket.environment).wait()
    assert outcome.status == 1
    assert re.fullmatch("error: s3://films: is not empty, and nothing proves.*", outcome.errors[0])
    assert list(bucket.listed()) == ["somebody's/file"]


@s3
@pytest.mark.parametrize(
    ("url", "environment", "sentence"),
    [
        ("s3://nobody/a.zarr", {}, "s3://nobody/a.zarr: .*bucket does not exist"),
        (
            URL,
            {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "AWS_MAX_ATTEMPTS": "1"},
            f"{URL}: Could not connect",
        ),
        (
            URL,
            {
                "AWS_ENDPOINT_URL": f"http://me:hunter2@127.0.0.1:{free_port()}/",
                "AWS_MAX_ATTEMPTS": "1",
                "RES_OPTIONS": "timeout:1 attempts:1",  # For where no server answers for names.
            },
            f"{URL}: ",
        ),
        (URL, dict.fromkeys(SECRETS, ""), f"{URL}: Unable to locate credentials"),
        ("s3://me:hunter2@films/a.zarr", {}, "s3://…@films/a.zarr: a URL must not hold"),
    ],
)
def test_what_cannot_be_reached_is_one_line_without_a_secret(
    bucket: Bucket, data: Path, url: str, environment: dict[str, str], sentence: str
) -> None:
    once = "import s3fs; s3fs.S3FileSystem.retries = 1"  # It would wait between five times.
    environment = {**bucket.environment, **environment}
    outcome = run(data, "--store", url, "--verbose", prepare=once, environment=environment).wait()
    assert outcome.status == 1
    assert re.match(f"error: {sentence}", outcome.errors[0])
    assert len(outcome.errors) == 1
    assert not [secret for secret in SECRETS.values() if secret in outcome.stderr]
    assert "hunter2" not in outcome.stderr
    assert "Traceback" in outcome.stderr, "--verbose shows where"
    assert not bucket.listed()


@s3
def test_a_connection_that_is_lost_is_no_damage_and_no_traceback(
    tmp_path: Path, bucket: Bucket, data: Path
) -> None:
    first = Bucket(tmp_path)
    try:
        (hold := tmp_path / "hold").touch()
        once = {**first.environment, "AWS_MAX_ATTEMPTS": "1"}
        running = run(data, "--store", URL, prepare=held(hold), environment=once)
        within(lambda: first.listed("/vectors/c/"))
        first.server.end()
        hold.unlink()
        outcome = running.wait()
        assert outcome.status == 1
        assert "damaged" not in outcome.stderr
        assert "Traceback" not in outcome.stderr
        assert outcome.errors
        assert all(f"{URL}: " in line for line in outcome.errors)
        finish(bucket, data)
        assert outputs(data) == wanted()
    finally:
        first.server.end()
