"""The listener: to derive from it, nothing need be said."""

from pathlib import Path

import pytest
from reference import films, put

import engine


def test_a_listener_of_its_own_accord_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    progress = engine.Progress()
    progress.stage("computing", 10, 0, "pairs")
    progress.advance("computing", 5)
    progress.message("one damaged chunk computed again")
    progress.error("x.json: it broke", "Traceback")
    progress.close()
    assert capfd.readouterr() == ("", "")


def test_a_listener_may_care_for_one_thing_alone(tmp_path: Path) -> None:
    class Counter(engine.Progress):
        pairs = 0

        def advance(self, name: str, amount: int) -> None:
            if name == "computing":
                self.pairs += amount

    put(tmp_path, "genres", "1990", films(20))
    counter = Counter()
    engine.run(tmp_path, workers=1, progress=counter)
    assert counter.pairs == 190
