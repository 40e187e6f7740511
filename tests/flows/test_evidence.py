"""A build folder is accepted as its build left it, or refused in one line; files beside the products do not count."""

import json
import os
import shutil

import numpy as np
import pytest

from flows import build
from flows.accelerator import Accelerator
from flows.build_report import BuildReport
from flows.config import BuildConfig
from flows.engines import program
from flows.evidence import Record
from flows.facts.design import Counts
from flows.planner import Plan
from flows.samples import Samples
from flows.steps.netlist import Netlist
from flows.steps.place import Place, Placed
from flows.steps.simulate import Simulate
from flows.steps.synthesise import Synthesised
from hw.boards.targets import find_target
from hw.host.errors import BitfabricError, UsageError
from hw.host.files import digest, read_json, sha256, write_json
from hw.simulation import verilator

OPTIONS = {"fps": 5e6, "stop_after": "rtl"}


@pytest.fixture(scope="module")
def made(small, tmp_path_factory):
    """A build up to the RTL, of a board file."""
    out = tmp_path_factory.mktemp("evidence")
    build(small / "model.onnx", "ulx3s-12f", out / "one", **OPTIONS)
    build(small / "model.onnx", "ulx3s-12f", out / "other", fps=1e6, stop_after="rtl")
    return out


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the build; a copy is as good as the build."""
    shutil.copytree(made / "one", tmp_path / "build")
    return tmp_path / "build"


def test_a_folder_that_was_copied_or_moved_or_reached_by_a_link_is_accepted(small, folder, tmp_path):
    folder.rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    assert Accelerator(tmp_path / "link").run(np.load(small / "x.npy")[:2]).shape == (2, 3)
    again = build(small / "model.onnx", "ulx3s-12f", tmp_path / "link", **OPTIONS)
    assert all(step.cached for step in again.report.steps)


def test_what_lies_beside_the_products_does_not_count(small, folder):
    accelerator = Accelerator(folder)
    accelerator.write_report()
    (folder / "notes.txt").write_text("mine")
    (folder / "rtl" / "waves.vcd").write_text("mine")
    (folder / "driver").mkdir()
    (folder / "driver" / "driver.py").write_text("edited")
    (folder / "driver" / "model.json").write_text("{}")
    Accelerator(folder)
    build(small / "model.onnx", "ulx3s-12f", folder, **OPTIONS)
    assert (folder / "notes.txt").exists()


def change(name):
    def damage(folder, made):
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")

    return damage


def edit(key, value):
    """``build.json``, edited by hand."""

    def damage(folder, made):
        content = read_json(folder / "build.json")
        content[key] = value
        write_json(folder / "build.json", content)

    return damage


def edit_result(folder, made):
    """A record with another result, and its seal renewed."""
    content = read_json(folder / ".steps" / "emulate.json")
    content["result"]["frames"] *= 2
    write_json(folder / ".steps" / "emulate.json", Record.model_validate(content).sealed())


def swap(name):
    """A file or folder of another build of the same model."""

    def damage(folder, made):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
            shutil.copytree(made / "other" / name, folder / name)
        else:
            shutil.copyfile(made / "other" / name, folder / name)

    return damage


def link(name):
    """A product that is a link to an equal one elsewhere."""

    def damage(folder, made):
        (folder / name).rename(folder.parent / "elsewhere")
        (folder / name).symlink_to(folder.parent / "elsewhere")

    return damage


def pipe(name):
    """A named pipe instead of a product, on which a reader would wait for ever."""

    def damage(folder, made):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


def sealed(folder, step=None, **changes):
    """Forge: change a record or ``build.json``, and renew the hashes of both."""
    report = read_json(folder / "build.json")
    if step:
        record = Record.model_validate(read_json(folder / ".steps" / f"{step}.json") | changes)
        write_json(folder / ".steps" / f"{step}.json", record.sealed())
        report["evidence"]["records"][step] = record.seal
    else:
        report |= changes
    del report["evidence"]["digest"]
    report["evidence"]["digest"] = digest(report)
    write_json(folder / "build.json", report)


def out_of_the_folder(name):
    def damage(folder, made):
        (folder.parent / "secret").write_text("x")
        record = read_json(folder / ".steps" / "rtl.json")
        sealed(folder, "rtl", files=record["files"] | {name: sha256(folder.parent / "secret")})

    return damage


def another_reading(folder, made):
    record = read_json(folder / ".steps" / "rtl.json")
    sealed(folder, "rtl", reads=record["reads"] | {"lower/graph.json": "0" * 64})


def reading_of_nothing(folder, made):
    sealed(folder, "rtl", reads={"place/image.bit": "0" * 64})


def forged_facts(folder, made):
    report = read_json(folder / "build.json")
    report["verified"]["emulator"]["frames"] += 1
    sealed(folder, verified=report["verified"])


def record_out_of_the_folder(folder, made):
    report = read_json(folder / "build.json")
    report["evidence"]["records"]["../../x"] = "0" * 64
    sealed(folder, evidence=report["evidence"])


EDITED = [
    (edit("fps", 1e9), "build.json was changed"),
    (edit("evidence", None), "build.json was changed"),
    (change(".steps/emulate.json"), None),
    (edit_result, "the record of step emulate was changed, or is that of another build"),
    (swap(".steps/rtl.json"), "the record of step rtl was changed, or is that of another build"),
    (swap(".steps"), r"the record of step \w+ was changed, or is that of another build"),
    (swap("build.json"), r"the record of step \w+ was changed, or is that of another build"),
    (change("rtl/accelerator.sv"), "rtl/accelerator.sv was changed"),
    (change("lower/graph.json"), "lower/graph.json was changed"),
    (change("lower/graph.safetensors"), "lower/graph.safetensors was changed"),
    (change("lower/model.onnx"), "lower/model.onnx was changed"),
    (change("fold/folding.json"), "fold/folding.json was changed"),
    (swap("rtl"), "rtl/accelerator.sv was changed"),
    (link("rtl/accelerator.sv"), "rtl/accelerator.sv leads out of it"),
    (link("rtl"), "rtl/.* leads out of it"),
    (link(".steps"), "the record of step lower leads out of it"),
    (pipe("rtl/accelerator.sv"), "rtl/accelerator.sv is no file any more"),
    (pipe(".steps/rtl.json"), "the record of step rtl was changed"),
    (out_of_the_folder("../../secret"), r"rtl/\.\./\.\./secret leads out of it"),
    (another_reading, "step rtl has read another lower/graph.json"),
    (reading_of_nothing, "step rtl has read place/image.bit, which no step has made"),
    (record_out_of_the_folder, r"the record of step \.\./\.\./x leads out of it"),
]


@pytest.mark.parametrize(("damage", "message"), EDITED)
def test_an_edited_folder_is_refused_in_one_line_and_left_as_it_is(small, made, folder, damage, message):
    damage(folder, made)
    if message is None:  # blanks in a record change nothing
        Accelerator(folder)
        return
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command in (
        lambda: Accelerator(folder),
        lambda: build(small / "model.onnx", "ulx3s-12f", folder, **OPTIONS),
    ):
        with pytest.raises(UsageError, match=f"is not as its build left it: .*({message})") as caught:
            command()
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(folder))
        assert "delete the folder, or build in another one (-o)" in str(caught.value)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_command_refuses_an_edited_folder(small, made, folder):
    from flows.cli import building, running

    change("lower/graph.json")(folder, made)
    frames = small / "x.npy"
    for command in (
        lambda: running.run(folder, frames),
        lambda: running.program(folder),
        lambda: running.virtual(folder),
        lambda: running.soft_errors(folder, frames),
        lambda: building.report([folder]),
        lambda: building.build(small / "model.onnx", "ulx3s-12f", folder, fps=5e6, stop_after="rtl"),
    ):
        with pytest.raises(UsageError, match=r"is not as its build left it: lower/graph\.json was changed"):
            command()


def test_a_report_that_does_not_follow_from_the_steps_is_refused(folder):
    forged_facts(folder, None)
    with pytest.raises(UsageError, match=r"verified in build\.json does not follow from its steps"):
        Accelerator(folder)


@pytest.mark.parametrize("name", ["rtl/accelerator.sv", "lower", ".steps/fold.json"])
def test_what_was_deleted_is_made_again(small, folder, name):
    place = folder / name
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises(UsageError, match="is missing; delete the folder"):
        Accelerator(folder)
    again = build(small / "model.onnx", "ulx3s-12f", folder, **OPTIONS)
    assert sum(not step.cached for step in again.report.steps) == 1
    Accelerator(folder)


def test_a_request_that_fails_leaves_the_finished_build(small, folder):
    with pytest.raises(UsageError, match="no target"):
        build(small / "model.onnx", "nix", folder, **OPTIONS)
    with pytest.raises(UsageError):
        build(small / "nix.onnx", "ulx3s-12f", folder, **OPTIONS)
    Accelerator(folder)


def test_a_shorter_build_removes_what_a_longer_one_left(small, folder):
    Accelerator(folder).write_report()
    for name in ("place", "netlist.failed", "simulate.part", "driver", "finn"):
        (folder / name).mkdir()
        (folder / name / "model.json").write_text("")
    for name in ("place", "finn"):
        (folder / ".steps" / f"{name}.json").write_text("{}")
    (folder / "mine").mkdir()
    shorter = build(small / "model.onnx", "ulx3s-12f", folder, fps=5e6, stop_after="fold")
    assert [step.name for step in shorter.report.steps if step.cached] == ["lower", "fold"]
    assert {path.name for path in folder.iterdir()} == {".lock", ".steps", "build.json", "lower", "fold", "mine"}
    assert {path.name for path in (folder / ".steps").iterdir()} == {"lower.json", "fold.json"}


@pytest.mark.parametrize("name", ["rtl/mine.sv", "lower", "driver/mine.c", "build.json", "place/board.pcb"])
def test_files_of_the_user_are_not_replaced(small, tmp_path, name):
    """A folder of a project, by accident given as that of a build."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match=f"holds {name.split('/')[0]}, which no build has made") as caught:
        build(small / "model.onnx", "ulx3s-12f", tmp_path, **OPTIONS)
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", name.split("/")[0]}
    assert (tmp_path / name).read_text() == "{}"


def test_files_of_other_names_stay(small, tmp_path):
    for name in ("board.yaml", "report.html", "model.onnx"):
        (tmp_path / name).write_text("mine")
    build(small / "model.onnx", "ulx3s-12f", tmp_path, stop_after="fold")
    assert {(tmp_path / name).read_text() for name in ("board.yaml", "report.html", "model.onnx")} == {"mine"}


def test_cached_steps_keep_the_seconds_of_the_run_that_made_them(small, folder):
    first = BuildReport.read(folder).steps
    again = build(small / "model.onnx", "ulx3s-12f", folder, **OPTIONS)
    assert [(s.name, s.seconds, True) for s in first] == [(s.name, s.seconds, s.cached) for s in again.report.steps]
    assert f"<td>{first[0].seconds:.1f}, in an earlier build</td>" in again.write_report().read_text()


def test_rtl_that_this_version_makes_differently_is_not_run_as_that_of_the_build(folder, monkeypatch):
    from hw.rtl.design import RtlDesign, generate

    def other(graph, family):
        made = generate(graph, family)
        return RtlDesign(
            made.top, made.inputs, made.outputs, made.files | {f"{made.top}.sv": "// other\n"}, made.parity
        )

    monkeypatch.setattr("flows.implementation.generate", other)
    with pytest.raises(BitfabricError, match=r"rtl/accelerator\.sv is not what this version of bitfabric makes"):
        _ = Accelerator(folder).implementation.rtl


def test_the_board_file_of_a_build_is_part_of_its_evidence(small, tmp_path):
    from importlib.resources import files

    board = tmp_path / "mine.yaml"
    text = (files("hw.boards") / "icebreaker.yaml").read_text()
    board.write_text(text)
    build(small / "model.onnx", str(board), tmp_path / "out", stop_after="fold")
    assert Accelerator(tmp_path / "out").target.name == find_target("icebreaker").name
    (tmp_path / "out" / ".steps" / "board.yaml").write_text(text.replace("clock", "clock "))
    with pytest.raises(UsageError, match=r"board\.yaml was changed"):
        Accelerator(tmp_path / "out")
    build(small / "model.onnx", str(board), tmp_path / "out", stop_after="fold")
    Accelerator(tmp_path / "out")


@pytest.fixture
def with_bitstream(folder):
    """The build with a bitstream, as its place step would leave it."""
    (folder / "place").mkdir()
    (folder / "place" / "image.bit").write_bytes(b"bits")
    (folder / "place" / "image.json").write_bytes(b"{}")
    files = {name: sha256(folder / "place" / name) for name in ("image.bit", "image.json")}
    result = {"fmax_mhz": 120.0, "seed": 1, "critical_path": "x", "netlist": "image.json", "bitstream": "image.bit"}
    counts = {"lut": 1, "ff": 1, "bram": 0, "dsp": 0}
    record = Record(step="place", key="0", reads={}, result=result | {"cells": counts}, files=files, seconds=1.0)
    write_json(folder / ".steps" / "place.json", record.sealed())
    report = read_json(folder / "build.json")
    sealed(
        folder,
        evidence=report["evidence"] | {"records": report["evidence"]["records"] | {"place": record.seal}},
        bitstream={"path": "place/image.bit", "sha256": files["image.bit"]},
        fps_at_fmax=120e6 / report["cycles"]["interval"]["estimated"],
        fmax_mhz=report["fmax_mhz"] | {"placed": 120.0},
        critical_path="x",
        products=report["products"]
        | {"bitstream": "place/image.bit", "driver": "driver", "placed netlist": "place/image.json"},
    )
    return folder


def test_program_loads_the_bitstream_of_the_build_only(with_bitstream, monkeypatch):
    loaded = []
    monkeypatch.setattr(program, "program", lambda path, target, flash: loaded.append(path.read_bytes()) or "done")
    accelerator = Accelerator(with_bitstream)
    assert accelerator.program() == "done"
    (with_bitstream / "place" / "image.bit").write_bytes(b"other")
    with pytest.raises(UsageError, match=r"place/image\.bit was changed"):
        accelerator.program()
    with pytest.raises(UsageError, match=r"place/image\.bit was changed"):
        Accelerator(with_bitstream)
    assert loaded == [b"bits"]


@pytest.mark.parametrize("path", ["../image.bit", "place/../../image.bit"])
def test_program_stays_in_the_folder(with_bitstream, monkeypatch, path):
    (with_bitstream.parent / "image.bit").write_bytes(b"bits")
    sealed(with_bitstream, bitstream={"path": path, "sha256": sha256(with_bitstream.parent / "image.bit")})
    monkeypatch.setattr(program, "program", None)
    with pytest.raises(UsageError, match=r"bitstream in build\.json does not follow from its steps"):
        Accelerator(with_bitstream).program()


@pytest.mark.parametrize(
    ("target", "stage", "simulated"),
    [("ulx3s-12f", "placed", "place/image.placed.json"), ("tangnano9k", "mapped", "synthesise/image.json")],
)
def test_the_check_of_the_netlist_holds_for_its_placement_and_bitstream_only(small, tmp_path, target, stage, simulated):
    design = build(small / "model.onnx", target, tmp_path, stop_after="fold").implementation
    plan = Plan(design.model, BuildConfig(target))
    counts = Counts(lut=1, ff=1, bram=0, dsp=0)
    synthesised = Synthesised(netlist="image.json", resources=counts, logic_cells=1, layers={}, rest=counts)
    placed = Placed(
        fmax_mhz=100.0, seed=1, critical_path="", netlist="image.placed.json", bitstream="image.bit", cells=counts
    )
    step = Netlist(design, Samples.open(design.model, None, None), 1, synthesised, placed)
    assert (step.stage, step.path) == (stage, simulated)
    assert {simulated, "place/image.placed.json", "place/image.bit", "rtl", "lower/graph.json"} < set(step.reads())
    assert "synthesise/image.json" in Place(design, plan, synthesised, (1,)).reads()
    assert "rtl" in Simulate(design, step.samples, 1).reads()
    for each in (step, Simulate(design, step.samples, 1)):
        assert verilator.version() in each.inputs()


def test_evidence_is_plain_json(folder):
    """Hashes that another program can check: SHA-256 of files, and of JSON with sorted keys."""
    report = json.loads((folder / "build.json").read_text())
    assert set(report["evidence"]["records"]) == {"lower", "fold", "emulate", "rtl"}
    record = json.loads((folder / ".steps" / "rtl.json").read_text())
    assert record.pop("seal") == digest(record) == report["evidence"]["records"]["rtl"]
    assert record["reads"]["lower/graph.json"] == sha256(folder / "lower" / "graph.json")
