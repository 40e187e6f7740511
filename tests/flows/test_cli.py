import json
import os
import re
import signal
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from flows.cli import main
from flows.cli.arguments import pairs
from tests.quant.small_training import interrupt_after


def bitfabric(*arguments, **environment):
    """Run the command as a user does."""
    command = [sys.executable, "-c", "from flows.cli.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def bitfabric_script(*arguments, **environment):
    """The same through a file, which further processes of a training can run again."""
    command = [Path(sys.executable).parent / "bitfabric", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)


def test_options_are_json_or_words_or_lists_of_words():
    given = ["a=[random,tree]", "b=[1, x, true]", 'c=["d", 2]', "e=random", "f=0.5", "g=[]"]
    assert pairs("--model-option", given) == {
        "a": ["random", "tree"], "b": [1, "x", True], "c": ["d", 2], "e": "random", "f": 0.5, "g": [],
    }  # fmt: skip


def one_line(done, status, *words):
    assert done.returncode == status, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.quick
def test_help_imports_nothing_heavy():
    heavy = {"torch", "brevitas", "qonnx", "onnx", "finn", "numpy"}
    code = "import sys, flows.cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not heavy & set(loaded.split())
    assert "Accelerators:" in bitfabric("--help").stdout


def test_the_python_words_of_the_readme():
    # Whatever of the package was imported before.
    code = (
        "from importlib import import_module as load; from pkgutil import iter_modules as modules; import flows\n"
        "for module in modules(flows.__path__, 'flows.'): load(module.name)\n"
        "from flows import Accelerator, assert_engines_agree, build\n"
        "assert isinstance(Accelerator, type) and callable(assert_engines_agree) and callable(build)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.quick
@pytest.mark.parametrize("command", ["train", "compress", "build", "estimate", "run", "report", "targets", "doctor"])
def test_every_command_has_help(command):
    assert command in bitfabric(command, "--help").stdout


def test_estimate_build_and_run(small, tmp_path):
    model, out = small / "model.onnx", tmp_path / "out"
    estimate = json.loads(bitfabric("estimate", model, "-t", "ulx3s-12f", "--fps", "1e6", "--json").stdout)
    done = bitfabric("build", model, "-t", "ulx3s-12f", "--fps", "1e6", "--stop-after", "simulate", "-o", out, "--json")
    report = json.loads(done.stdout)
    assert report["cycles"]["interval"] == dict.fromkeys(("estimated", "simulated"), estimate["cycles"]["interval"])
    outputs = {}
    for engine in ("qonnx", "emulator", "rtl"):
        saved = tmp_path / f"{engine}.npy"
        done = bitfabric(
            "run", out, "-i", small / "x.npy", "--labels", small / "y.npy", "--engine", engine, "-o", saved
        )
        assert "accuracy" in done.stdout, done.stderr
        outputs[engine] = np.load(saved)
    np.testing.assert_array_equal(outputs["qonnx"], outputs["emulator"])
    np.testing.assert_array_equal(outputs["qonnx"], outputs["rtl"])
    one_line(bitfabric("run", out, "-i", small / "x.npy", "--engine", "netlist"), 2, "no netlist that was simulated")
    one_line(bitfabric("run", out, "-i", small / "y.npy"), 2, "12")
    one_line(
        bitfabric("run", out, "-i", small / "x.npy", "--labels", small / "x.npy"), 2, "80 frames need as many labels"
    )
    page = Path(json.loads(bitfabric("report", out, "--json").stdout)["report"])
    assert page == out / "report.html"
    assert "fc0" in page.read_text()
    one_line(bitfabric("report", tmp_path), 2, "no finished build")
    one_line(bitfabric("report", out, "-o", small / "x.npy" / "r.html"), 2, "cannot write")
    text = bitfabric("build", model, "-t", "ulx3s-12f", "--fps", "1e6", "--stop-after", "simulate", "-o", out)
    assert "unchanged" in text.stderr
    assert "fc0" in text.stdout
    assert str(out / "build.json") in text.stdout


def test_an_interrupt_is_one_line(small, tmp_path):
    # In the background, where these tests may run, interrupts are ignored from the start.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from flows.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "build", small / "model.onnx"]
    command += ["-t", "ulx3s-12f", "--fps", "1e6", "--stop-after", "synthesise", "-o", tmp_path / "o"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert "done lower" in first
    assert rest.splitlines()[-1].startswith("error: interrupted; the same command goes on"), rest
    assert "Traceback" not in rest
    assert process.returncode == 130
    assert not list((tmp_path / "o").glob("*.part"))


@pytest.mark.quick
def test_a_package_that_asks_for_the_home_folder_of_a_user_without_one(monkeypatch, capsys):
    """Such a user has a number and no name, as that of a service; Matplotlib asks, and so torchmetrics."""

    def asks(**_):
        raise RuntimeError("Could not determine home directory.")

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(main, "app", asks)
    try:
        with pytest.raises(RuntimeError):
            main.main()
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        with pytest.raises(SystemExit):
            main.main()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    said = capsys.readouterr().err.splitlines()
    assert said == ["error: this user has no home folder, and a package asks for it: set HOME to a folder"]


def test_a_narrow_pipe_gets_whole_tables(small):
    done = bitfabric("estimate", small / "model.onnx", "-t", "ulx3s-12f", "--fps", "1e6", COLUMNS="20")
    assert "…" not in done.stdout
    assert "fc0_threshold" in done.stdout
    assert "matrix_vector" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell):
    # Typer looks for the shell that it runs in, and takes a name where it is told not to.
    done = bitfabric_script("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "bitfabric" in done.stdout


@pytest.mark.quick
def test_targets_are_completed():
    words = {"COMP_WORDS": "bitfabric build m.onnx --target ulx3s-8", "COMP_CWORD": "4"}
    words["_BITFABRIC_COMPLETE"] = "complete_bash"
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'bitfabric'; from flows.cli.main import main; main()"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | words)
    assert done.stdout.split() == ["ulx3s-85f"], done.stderr


def test_targets_and_doctor():
    names = [target["name"] for target in json.loads(bitfabric("targets", "--json").stdout)["targets"]]
    assert {"ulx3s-85f", "lfe5u-85f", "xc7z020"} <= set(names)
    findings = json.loads(bitfabric("doctor", "--json").stdout)["findings"]
    missing = [found["remedy"] for found in findings if found["needed"] and not found["found"]]
    assert not [remedy for remedy in missing if "MiB free" not in remedy]  # the disk is that of the machine


def test_wrong_usage_is_one_line(small, tmp_path):
    one_line(bitfabric("nosuch"), 2, "No such command 'nosuch'")
    one_line(bitfabric("build"), 2, "MODEL.onnx")
    one_line(bitfabric("build", tmp_path / "no.onnx", "-t", "ulx3s-85f", "-o", tmp_path / "o"), 2, "no.onnx")
    assert not (tmp_path / "o").exists()
    one_line(bitfabric("estimate", small / "model.onnx", "-t", "ulx3s"), 2, "ulx3s-85f")
    one_line(bitfabric("run", tmp_path, "-i", small / "x.npy"), 2, "no finished build", "bitfabric build")
    one_line(bitfabric("train", "tcf-w1a1", "-o", tmp_path / "r"), 2, "tfc")
    one_line(bitfabric("train", "tfc-w1a1", "--data", tmp_path / "none", "-o", tmp_path / "r"), 2, "none")


@pytest.fixture
def here(monkeypatch, capsys):
    """The command in this process, which has torch loaded: (exit status, standard output, standard error)."""
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bitfabric", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main.main()
        return left.value.code, *capsys.readouterr()

    return run


@pytest.mark.quick
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model-option", "width"], "no NAME=VALUE"),
        (["--model-option", "hidden=[8]", "--model-option", "hidden=[16]"], "hidden is given twice, as hidden=[8] and"),
        (["--model-option", "width=2"], "has no option 'width'"),
        (["--scheme-option", "bits=2"], "no parameter 'bits'"),
        (["--teacher", "nowhere"], "no teacher nowhere"),
        (["--patience", 3], "needs a validation part"),
        (["--devices", "3", "--strategy", "nonsense"], "Lightning refuses"),
        (["--learning-rate", "1e-2", "1e-3"], "takes one value: write --learning-rate 1e-2:1e-3"),
        (["--learning-rate", "fast"], "'fast' is no number, or two as in 1e-2:1e-4"),
        (["--learning-rate", "1:2:3"], "more than a first and a last rate"),
        (["--class-weights", "1,many"], "is no list of numbers, as in --class-weights 1,2.5"),
        (["--image-size", "32"], "is no height and width, as in --image-size 32x32"),
        (["--image-size", "8x8"], "image_size (--image-size) is for folders of images, not for the digits"),
        (["--data", "photoz/"], "no data set 'photoz/'"),
        (["--config", "none.yaml"], "cannot read none.yaml"),
        (["--log", "paper"], "paper"),
    ],
)
def test_wrong_options_of_a_training(here, tmp_path, options, words):
    status, _, error = here("train", "tfc-w1a1", "-o", tmp_path / "r", *options)
    assert status == 2
    assert len(error.splitlines()) == 1
    assert words in error


@pytest.mark.parametrize("options", [("--fps", 1), ("--fps", 1e5), ("--fill",), ("--pareto",), ()])
def test_a_device_too_small_for_any_folding(here, big, options):
    status, _, error = here("estimate", big / "model.onnx", "-t", "ulx3s-12f", *options)
    assert status == 1
    assert len(error.splitlines()) == 1
    words = (
        r"[:;] even the smallest folding does not fit \(BRAM \d+ of 32 \(\d+ too many\)\); take a bigger device or a "
    )
    assert re.search(rf"model\.onnx does not fit ulx3s-12f.*{words}smaller network$", error)


def test_an_impossible_rate_names_the_layer_and_the_best_rate(here, big):
    options = ("estimate", big / "model.onnx", "-t", "ulx3s-85f", "--clock", 87.3)
    status, _, error = here(*options, "--fps", 1e9)
    assert status == 2
    assert len(error.splitlines()) == 1
    found = re.search(
        r"0 cycles a frame; layer (\w+) \(.*\) needs \d+: at most (\d+) frames/s are possible; ask for ", error
    )
    assert found
    # One more a second is too many, as well; so many are only too many for the device.
    assert f"at most {found[2]} " in here(*options, "--fps", int(found[2]) + 1)[2]
    words = r"does not fit ulx3s-85f as folded: .* too many\); --fps \d+ .* is estimated to fit"
    assert re.search(words, here(*options, "--fps", found[2])[2])


def test_a_folding_that_does_not_divide_says_what_does(here, small, tmp_path):
    (tmp_path / "f.json").write_text('{"Defaults": {}, "fc0": {"SIMD": 5}}')
    status, _, error = here("estimate", small / "model.onnx", "-t", "ulx3s-12f", "--folding", tmp_path / "f.json")
    assert (status, len(error.splitlines())) == (2, 1)
    assert (
        "layer fc0 (MatMul_2): matrix_vector: simd=5 does not divide the 12 inputs; legal: 1, 2, 3, 4, 6, 12" in error
    )


def test_what_the_device_holds(here, small):
    model = small / "model.onnx"
    options = ("estimate", model, "-t", "ulx3s-12f")
    fill = json.loads(here(*options, "--fill", "--json")[1])
    front = json.loads(here(*options, "--pareto", "--json")[1])["pareto"]
    shares = {"lut": 0.8, "ff": 0.8, "bram": 0.9, "dsp": 0.9}
    for name, count in fill["resources"].items():
        assert count["estimated"] <= shares[name] * count["available"]
    # A network so small is not limited by the device but by its own widest folding.
    assert front[0]["interval"] == fill["cycles"]["interval"] == 1
    for faster, slower in combinations(front, 2):
        assert faster["interval"] < slower["interval"]
        assert any(slower["estimated"][name] < value for name, value in faster["estimated"].items())
    last = json.loads(here(*options, "--fps", front[-1]["fps"], "--json")[1])
    assert last["folding"] == front[-1]["folding"]
    assert f"{len(front)} of" not in here(*options, "--pareto")[1]
    for wrong in (("--fill", "--fps", 1), ("--fill", "--pareto"), ("--pareto", "--fps", 1)):
        status, _, error = here(*options, *wrong)
        assert status == 2
        assert len(error.splitlines()) == 1
        assert "--fill" in error


def test_train(here, tmp_path):
    options = ("--epochs", 2, "--model-option", "in_bits=1", "--batch-size", 200, "--learning-rate", "1e-2:1e-3")
    status, text, _ = here("train", "tfc-w1a1", *options, "-o", tmp_path, "--json")
    result = json.loads(text)
    assert status == 0
    assert result["fit"]["batch_size"] == 200
    assert result["fit"]["learning_rate"] == [1e-2, 1e-3]
    assert result["layers"][0]["act_bits"] == 1
    _, text, _ = here("train", "tfc-w1a1", *options, "-o", tmp_path)
    assert "after 2 epochs" in text
    assert "unchanged" in text
    assert "32 times smaller" in text
    assert str(tmp_path / "model.onnx") in text


def test_a_training_from_its_file(here, tmp_path):
    options = ("--epochs", 1, "--learning-rate", "1e-2", "--model-option", "hidden=[16]", "--json")
    first = json.loads(here("train", "tfc-w4a4", *options, "-o", tmp_path / "a")[1])
    same = json.loads(here("train", "--config", tmp_path / "a/train.yaml", "-o", tmp_path / "b", "--json")[1])
    assert same["onnx"] == first["onnx"]
    longer = ("--config", tmp_path / "a/train.yaml", "--epochs", 2, "--validation", 0.1)
    other = json.loads(here("train", *longer, "-o", tmp_path / "c", "--json")[1])
    assert (other["config"]["epochs"], other["config"]["learning_rate"]) == (2, 0.01)
    assert other["model_options"] == {"hidden": [16]}
    status, _, error = here("train", "-o", tmp_path / "d")
    assert (status, "give a MODEL" in error) == (2, True)
    status, _, error = here("train", "tfc-w4a4", *options, "--resume", "-o", tmp_path / "e")
    assert status == 0
    assert "e holds no interrupted training to resume: it starts from the beginning" in error


def test_an_interrupted_training_says_whether_it_can_go_on(here, tmp_path, monkeypatch):
    options = ("tfc-w4a4", "--batch-size", 600, "--model-option", "hidden=[16]", "-o", tmp_path / "run")
    anew = "error: interrupted before its first checkpoint; the same command starts again"
    on = "error: interrupted; the same command with --resume goes on from the last checkpoint"
    for steps, line, *resume in ((1, anew), (3, on), (1, anew), (1, on, "--resume")):  # two steps are an epoch
        with monkeypatch.context() as patch:
            interrupt_after(patch, steps)
            status, _, error = here("train", *options, "--epochs", 3, *resume)
        assert (status, error.splitlines()[-1]) == (130, line)
    trained = tmp_path / "trained"
    assert here("train", *options[:-1], trained, "--epochs", 1)[0] == 0
    for steps, line in ((1, anew), (3, on)):
        with monkeypatch.context() as patch:
            interrupt_after(patch, steps)
            status, _, error = here("compress", trained, "--epochs", 3, "-m", "prune", "-o", tmp_path / "small")
        assert (status, error.splitlines()[-1]) == (130, line)


def test_a_collapsed_lookup_network_is_warned_of_in_one_line(here, tmp_path):
    x = np.zeros((40, 6), np.uint8)
    np.savez(tmp_path / "flat.npz", x_train=x, y_train=np.arange(40) % 2, x_test=x, y_test=np.arange(40) % 2)
    options = ("--data", tmp_path / "flat.npz", "--epochs", 1, "--model-option", "tables=20", "--json")
    status, text, error = here("train", "lookup-s", *options, "-o", tmp_path / "run")
    assert status == 0
    assert json.loads(text)["scheme"]["name"] == "lookup"
    assert error.startswith("warning: layer hidden.0 has collapsed: 100% of its tables are the same")
    assert error.count("\n") == 1


def test_train_prunes(here, tmp_path):
    options = (
        "--epochs",
        2,
        "--batch-size",
        400,
        "--prune",
        "0.75",
        "--prune-structure",
        "1:4",
        "--prune-span",
        0,
        0.5,
    )
    status, text, _ = here("train", "tfc-w4a4", *options, "--prune-decay", "hyperbolic", "-o", tmp_path, "--json")
    result = json.loads(text)
    assert status == 0
    prune = result["config"]["prune"]
    assert (prune["fraction"], prune["structure"], prune["begin"], prune["decay"]) == (0.75, "1:4", 0, "hyperbolic")
    assert all(layer["density"] <= 0.25 for layer in result["layers"])
    _, text, _ = here("train", "tfc-w4a4", *options, "--prune-decay", "hyperbolic", "-o", tmp_path)
    assert f"12,928 weights in 6.3 KiB, {result['totals']['density']:.1%} of them not zero" in " ".join(text.split())


@pytest.mark.quick
def test_the_list_of_networks_and_schemes(here):
    status, text, _ = here("train", "--list")
    assert "speech-commands" in text
    assert "CC BY 4.0" in text
    assert status == 0
    assert "mobilenet-v1" in text
    assert "fixed_point" in text
    assert "act_bits=8" in text


@pytest.mark.slow
def test_compress(here, tmp_path):
    run, small = tmp_path / "run", tmp_path / "small"
    assert here("train", "tfc-w4a4", "--epochs", "3", "-o", run, "--json")[0] == 0
    options = ("--density", "0.5", "--epochs", "1", "-t", "ulx3s-85f", "--fps", "100000", "-o", small)
    status, text, _ = here("compress", run, "-m", "merge", *options, "--json")
    result = json.loads(text)
    assert status == 0
    before, after = (result["estimated"][name]["resources"] for name in ("before", "after"))
    assert after["lut"]["estimated"] < before["lut"]["estimated"]
    _, text, _ = here("compress", run, "-m", "merge", *options)
    left = sum(row["after"] for row in result["compression"]["weights"])
    link = result["estimated"]["after"]["host_link"]["fps"]
    for word in (
        "unchanged",
        f"{left:,}",
        f"{after['lut']['estimated']:,}",
        "after 1 epoch of training",
        f"at most {link:,.0f}",
    ):
        assert word in text
    # A network that the target cannot have is what is compressed: the run is complete, and says so.
    options = (*options[:4], "-t", "icebreaker", "--fps", "40000000", "-o", tmp_path / "tiny")
    status, text, _ = here("compress", run, "-m", "prune", *options)
    assert status == 0
    assert "not estimated, the network before: model.onnx does not fit icebreaker" in text
    assert "metrics.json" in text
    for rate in ("0", "nan", "1e9"):
        status, _, error = here(
            "compress", run, "-m", "prune", "-t", "icebreaker", "--fps", rate, "-o", tmp_path / "no"
        )
        assert status == 2
        assert "at most one frame a cycle (40000000 frames/s at 40 MHz)" in error
    status, text, _ = here("compress", "--list")
    assert status == 0
    assert "soft-sharing" in text
    (run / "model.onnx").unlink()  # as that of a network in floating point
    status, _, error = here("compress", run, "-m", "merge", *options)
    assert status == 2
    assert "--target is for quantized networks" in error


def test_train_on_two_devices(tmp_path):
    """Two processes, one result, one report."""
    options = ("--epochs", 2, "--devices", 2, "--strategy", "ddp", "--accelerator", "cpu", "-o", tmp_path)
    done = bitfabric_script("train", "tfc-w4a4", *options)
    assert done.stdout.count("test accuracy") == 1, done.stderr
    assert (tmp_path / "model.onnx").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_no_compiler_is_one_line(small, tmp_path):
    done = bitfabric(
        "build", small / "model.onnx", "-t", "ulx3s-12f", "--stop-after", "simulate", "-o", tmp_path / "o",
        PATH="/nonexistent", CXX="", BITFABRIC_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("error: no C++ compiler")
    assert "apt-get install g++" in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o" / "build.json").exists()
