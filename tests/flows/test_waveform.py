import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vcd.reader import TokenKind, tokenize

from flows.simulation import simulate
from hw.families.ecp5 import ECP5
from hw.host.errors import BitfabricError
from hw.ir.origin import Origin
from hw.passes.lanes import insert_width_converters
from hw.rtl.design import generate
from hw.simulation import verilator
from tests.builders.networks import residual


def handshakes(path: Path) -> dict[str, int]:
    """Beats that move on every stream of the design's own scope: valid and ready high before a rising edge."""
    scopes: list[str] = []
    names: dict[str, list[str]] = {}
    values: dict[str, int] = {}
    moved: dict[str, int] = {}
    with path.open("rb") as file:
        for token in tokenize(file):
            if token.kind is TokenKind.SCOPE:
                scopes.append(token.scope.ident)
            elif token.kind is TokenKind.UPSCOPE:
                scopes.pop()
            elif token.kind is TokenKind.VAR and scopes == ["TOP", "accelerator"]:
                names.setdefault(token.var.id_code, []).append(token.var.reference)
            elif token.kind is TokenKind.CHANGE_SCALAR and token.scalar_change.id_code in names:
                value = int(token.scalar_change.value)
                if "clk" in names[token.scalar_change.id_code]:
                    for stream in {name.removesuffix("_valid") for name in values if name.endswith("_valid")}:
                        if value and not values["rst"]:
                            moved[stream] = moved.get(stream, 0) + (
                                values[f"{stream}_valid"] & values[f"{stream}_ready"]
                            )
                    continue
                values |= dict.fromkeys(names[token.scalar_change.id_code], value)
    return moved


def test_a_waveform_has_every_beat_under_its_layer(tmp_path):
    rng = np.random.default_rng(0)
    graph = insert_width_converters(residual(rng, 4))
    own = {"fc0": Origin("/body/fc/MatMul", "body.fc"), "fork": Origin("/body/fc/MatMul", "body.fc")}
    nodes = tuple(replace(node, origin=own.get(node.name, node.origin)) for node in graph)
    graph = replace(graph, nodes=nodes)
    frames = 3
    x = rng.integers(0, 4, (frames, *graph.edges["x"].shape))
    traced, _ = simulate(graph, generate(graph, ECP5), {"x": x}, trace=tmp_path / "w.vcd", clock_mhz=50)
    for edge, values in graph.execute({"x": x}).items():
        np.testing.assert_array_equal(traced[edge], values)
    moved = handshakes(tmp_path / "w.vcd")
    given = {edge: s.beats for node in graph for edge, s in zip(node.outputs, node.kernel.outputs(), strict=True)}
    given["x"] = graph.edges["x"].beats
    assert moved == {edge: frames * beats for edge, beats in given.items()}
    text = (tmp_path / "w.vcd").read_text()
    for node in graph:
        assert text.count(f"$scope module {node.name} $end") == (2 if node.name in own else 1)
    alias = text.partition("$scope module body_fc $end")[2]
    assert re.findall(r"\$scope module (\w+) \$end", alias)[0] == "fc0"
    assert "$comment fc0 is body.fc $end" in text
    assert "#20000\n" in text  # picoseconds of a cycle


def test_what_a_waveform_leaves_out_is_part_of_the_simulators_key(tmp_path, monkeypatch):
    monkeypatch.setenv("BITFABRIC_CACHE", str(tmp_path))
    monkeypatch.setattr(verilator, "_runtime", lambda flags, units: tmp_path)
    monkeypatch.setattr(verilator, "_compile", lambda command, cxx, runtime, work: (work / "sim").touch())
    design = generate(insert_width_converters(residual(np.random.default_rng(0), 4)), ECP5)

    def places() -> list[Path]:
        return [verilator.build(design, waveform=waveform).folder for waveform in (False, True)]

    before = places()
    assert len({*before, *places()}) == 2
    monkeypatch.setattr(verilator, "_untraced", lambda design: "`verilator_config\n")
    after = places()
    assert after[0] == before[0]
    assert after[1] not in before


def test_bad_waveforms_are_refused(tmp_path, monkeypatch):
    graph = insert_width_converters(residual(np.random.default_rng(0), 4))
    x = np.zeros((2, *graph.edges["x"].shape), int)
    with pytest.raises(BitfabricError, match=r"ends in \.vcd or \.fst"):
        simulate(graph, generate(graph, ECP5), {"x": x}, trace=tmp_path / "w.txt")
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(BitfabricError, match="apt-get install gtkwave"):
        simulate(graph, generate(graph, ECP5), {"x": x}, trace=tmp_path / "w.fst")
