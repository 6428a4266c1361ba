"""The recipes for clusters in the documents: run as plain processes, or read for what they run."""

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from reference import expected, films, outputs, put
from waiting import PATIENCE

import engine

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs" / "cluster.md").read_text()
DECADES = [("embedding", "1990"), ("genres", "2000")]


def block(word: str) -> str:
    """The first block of code in the document that holds a word."""
    found: list[str] = re.findall(r"^```\w+\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return next(text for text in found if word in text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shared folder with ``data`` and the script."""
    for k, (approach, decade) in enumerate(DECADES):
        put(tmp_path / "data", approach, decade, films(30 + k, 5))
    (tmp_path / "similarities.sh").write_text(block("#SBATCH"))
    return tmp_path


def submit(folder: Path, variable: str, number: int) -> subprocess.Popen[str]:
    """Start one job as a queueing system does: the script, and a number in the environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        variable: str(number),
        "SLURM_CPUS_PER_TASK": "1",
    }
    command = ["sh", "similarities.sh"]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


def end(job: subprocess.Popen[str]) -> None:
    _, said = job.communicate(timeout=PATIENCE)
    assert (job.returncode, said) == (0, "")


def test_an_array_with_a_store_each_writes_what_one_run_writes(folder: Path) -> None:
    # One more than there are decades, and all at the same time.
    numbers = range(len(DECADES) + 1)
    jobs = [submit(folder, "SLURM_ARRAY_TASK_ID", number) for number in numbers]
    for job in jobs:
        end(job)
    assert outputs(folder / "data") == expected(folder / "data")
    stores = {f"{approach}-{decade}s.zarr" for approach, decade in DECADES}
    assert {path.name for path in (folder / "stores").iterdir()} == stores
    assert not (folder / "data" / "similarities.zarr").exists()


def test_the_number_of_an_indexed_job_is_as_good(folder: Path) -> None:
    end(submit(folder, "JOB_COMPLETION_INDEX", 1))
    name = "{}/similarities_{}s.json".format(*DECADES[1])
    assert outputs(folder / "data") == {name: expected(folder / "data")[name]}


def test_an_array_with_one_store_writes_what_one_run_writes(folder: Path) -> None:
    script = folder / "similarities.sh"
    shared, n = re.subn(r' --store "[^"]*"', "", script.read_text())
    assert n == 1
    script.write_text(shared)
    assert "%1" in block("%1")
    for number in range(len(DECADES)):
        end(submit(folder, "SLURM_ARRAY_TASK_ID", number))
    assert outputs(folder / "data") == expected(folder / "data")
    assert engine.verify(folder / "data") == []


def test_the_array_has_a_job_for_each_of_the_real_decades() -> None:
    from engine.synthesize import DIMENSIONS, FILMS

    assert set(re.findall(r"--array=0-(\d+)", DOCUMENT)) == {str(len(DIMENSIONS) * len(FILMS) - 1)}


def test_the_kubernetes_job_runs_the_script_for_each_decade() -> None:
    yaml = pytest.importorskip("yaml")
    job: dict[str, Any] = yaml.safe_load(block("kind: Job"))
    spec = job["spec"]
    assert (job["apiVersion"], spec["completionMode"]) == ("batch/v1", "Indexed")
    assert f"--array=0-{spec['completions'] - 1} " in DOCUMENT
    # The API admits nothing else for a job.
    assert spec["template"]["spec"]["restartPolicy"] in ("OnFailure", "Never")
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "similarities.sh"]
    assert container["image"] in block("docker build")
    (mount,) = container["volumeMounts"]
    (volume,) = spec["template"]["spec"]["volumes"]
    assert mount["name"] == volume["name"]
    assert mount["mountPath"] == container["workingDir"]


def test_the_image_has_what_the_documents_install() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert len(lines) <= 10
    steps = [(line.split()[0], line.partition(" ")[2]) for line in lines if line[0] != "#"]
    of = dict(steps)
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    # What the documents have each machine of a cluster install.
    (installed,) = re.findall('pip install .*("[^"]*")', of["RUN"])
    assert f"pip install {installed}\n" in DOCUMENT
    # The newest Python that is tested.
    version = of["FROM"].removeprefix("python:")
    assert (
        config["metadata"]["classifiers"]
        .strip()
        .splitlines()
        .count(f"Programming Language :: Python :: {version}")
    )
    # All that installing reads is copied.
    copied = {
        str(path.relative_to(ROOT))
        for instruction, text in steps
        if instruction == "COPY"
        for source in text.split()[:-1]
        for path in ROOT.glob(source)
    }
    needed = {"README.md", config["metadata"]["license_files"], "setup.cfg", "pyproject.toml"}
    needed |= {"setup.py"} & {path.name for path in ROOT.iterdir()}
    assert copied == {*needed, "engine"}
    (program,) = json.loads(of["ENTRYPOINT"])
    scripts = config["options.entry_points"]["console_scripts"].split()
    assert program in scripts
    # The folder of the data is where the documents mount it.
    assert steps[-3] == ("WORKDIR", "/films")
    assert ':/films" similarities-engine --data data/sample --status' in block("docker run")
