"""Pictures of what users see, to look at: ``python -m benchmarks.screenshots [BUILD/]`` leaves them in
``build/screenshots``.

The report of a build (by default that of ``make demo``) section by section, every page of the site, and the output of
commands in terminals of 60, 80 and 160 columns. Needs Chromium, ``make demo`` or a build, and ``make docs``.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "screenshots"
COLUMNS = (60, 80, 160)
WIDTHS = (400, 800, 1300)
CHARACTER = (10, 20)
"""Width and height of a character of a terminal's picture, in pixels."""
HIGHEST = 8000


def picture(page: Path, out: Path, width: int, height: int) -> None:
    """Write a PNG of a page in a window of ``width`` by ``height`` pixels."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("no Chromium: apt-get install chromium")
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={OUT / '.chromium'}", f"--window-size={width},{height}", f"--screenshot={out}"]
    subprocess.run([*command, page.resolve().as_uri()], check=True, capture_output=True, timeout=120)


def report(build: Path) -> None:
    """Each section of the report of a build, and the page as a whole in three widths."""
    page = build / "report.html"
    subprocess.run(["bitfabric", "report", build], check=True, stdout=subprocess.DEVNULL)
    for width in WIDTHS:
        picture(page, OUT / "report" / f"all-{width}.png", width, HIGHEST)
    text = page.read_text()
    for name in re.findall(r'<section id="(\w+)">', text):
        alone = OUT / "report" / f"{name}.html"
        others = f"<style>header,footer,section:not(#{name}){{display:none}}</style></body>"
        alone.write_text(text.replace("</body>", others))
        picture(alone, alone.with_suffix(".png"), 1240, 1400)
        alone.unlink()


def site(folder: Path) -> None:
    """Every page of the site."""
    for page in sorted(folder.rglob("*.html")):
        if page.name != "404.html":
            name = "-".join(page.relative_to(folder).with_suffix("").parts)
            picture(page, OUT / "site" / f"{name}.png", 1300, 2000)


def terminals(build: Path) -> None:
    """What commands print, as a terminal shows it."""
    from rich.console import Console
    from rich.text import Text

    model = build / "lower" / "model.onnx"
    target = [str(model), "--target", "ulx3s-85f"]
    commands: dict[str, list[str]] = {
        "help": ["--help"],
        "build-help": ["build", "--help"],
        "train-help": ["train", "--help"],
        "train-list": ["train", "--list"],
        "targets": ["targets"],
        "doctor": ["doctor"],
        "estimate": ["estimate", *target, "--fps", "1000000"],
        "pareto": ["estimate", *target, "--pareto"],
    }
    for columns in COLUMNS:
        for name, words in commands.items():
            environment = os.environ | {"COLUMNS": str(columns), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
            said = subprocess.run(["bitfabric", *words], capture_output=True, text=True, env=environment).stdout
            lines = said.splitlines()
            shown = Console(record=True, width=columns, file=open(os.devnull, "w"))  # noqa: SIM115
            shown.print(Text.from_ansi(said), soft_wrap=True)
            page = OUT / "terminal" / f"{name}-{columns}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(shown.export_html())
            width, height = CHARACTER[0] * columns + 20, min(CHARACTER[1] * len(lines) + 40, HIGHEST)
            picture(page, page.with_suffix(".png"), max(width, 520), height)
            page.unlink()


def main() -> None:
    build = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "demo" / "build"
    if not (build / "build.json").exists():
        sys.exit(f"{build} holds no build: make demo, or give one")
    shutil.rmtree(OUT, ignore_errors=True)
    report(build)
    terminals(build)
    if (ROOT / "build" / "docs").exists():
        site(ROOT / "build" / "docs")
    shutil.rmtree(OUT / ".chromium", ignore_errors=True)
    print(f"{len(list(OUT.rglob('*.png')))} pictures in {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
