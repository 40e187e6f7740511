"""Pages of the site that are made from the code: the command line, ``build.json``, error messages, and the notebooks.

mkdocs calls ``on_files`` before it reads any page.
"""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]

PACKAGES = {
    "quant": "Training and export",
    "flows": "Builds, engines and the command line",
    "hw.lowering": "Models that are not read",
    "hw.kernels": "Kernels and their parameters",
    "hw.host": "Files, frames and links",
    "hw": "Hardware",
}
"""Headings of the index of error messages, by the longest prefix of the module."""

RAISED = ("Error", "BadParameter", "lowering_error", "refused", "refusal")
"""Endings of the names of what carries a message to the user."""


@event_priority(100)  # Before mkdocs-jupyter, which takes over the notebooks.
def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages and the notebooks."""
    made = {"reference/cli.md": cli, "reference/build-json.md": schema, "reference/errors.md": errors}
    for name, page in made.items():
        files.append(File.generated(config, name, content=page()))
    for page in sorted((ROOT / "benchmarks").glob("*.md")):
        files.append(File.generated(config, f"benchmarks/{page.name}", abs_src_path=str(page)))
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        name = f"notebooks/{notebook.name}"
        files.append(File(name, str(ROOT), config.site_dir, use_directory_urls=config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to the pages of the measurements, which lie beside the folder of the site's own pages."""
    return markdown.replace("](../benchmarks/", "](benchmarks/") if page.file.src_uri.count("/") == 0 else markdown


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").split())


def cli() -> str:
    """The page of the command line: every command with its examples, arguments and options."""
    from typer.main import get_command

    from flows.cli import help as helps
    from flows.cli.main import app

    program: Any = get_command(app)
    context = program.make_context("bitfabric", [], resilient_parsing=True)
    about = "As `bitfabric COMMAND --help` prints it. An error is one line; the exit status is 0 for success, "
    lines = ["# Command line", "", f"{about}1 for a failure, 2 for a wrong use and 130 after an interrupt.", ""]
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        texts, examples = helps.description(command)
        lines += [f"## bitfabric {name}", "", f"`{helps.usage(command, inner)}`", ""]
        lines += [line for text in texts for line in (text, "")]
        for words, commands in examples:
            lines += [f"{words}:", "", "```", *commands, "```", ""]
        listed = list(helps.entries(command, inner))
        for topic in dict.fromkeys(entry.topic for entry in listed):
            rows = [f"| `{e.term.replace('|', chr(92) + '|')}` | {_cell(e.text)} |" for e in listed if e.topic == topic]
            lines += [f"**{topic}**", "", "| | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def schema() -> str:
    """The page of ``build.json``: every key with its type and meaning, from the published schema."""
    whole = json.loads((ROOT / "docs" / "build.schema.json").read_text())
    about = "What a build found, as `build/build.json` holds it, and `build --json` and `Accelerator.report` give it."
    lines = ["# build.json", "", f"{about} The JSON schema is [build.schema.json](../build.schema.json).", ""]
    parts = {"the report": whole, **whole.get("$defs", {})}
    for name, part in parts.items():
        if not part.get("properties"):
            continue
        lines += [f"## {name}", "", _cell(part.get("description", "")), "", "| key | type | meaning |", "|---|---|---|"]
        for key, value in part["properties"].items():
            lines.append(f"| `{key}` | {_type(value)} | {_cell(value.get('description', ''))} |")
        lines.append("")
    return "\n".join(lines)


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(_type(each) for each in value["anyOf"])
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if value.get("type") == "array" and "items" in value:
        return f"list of {_type(value['items'])}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"object of {_type(value['additionalProperties'])}"
    return str(value.get("type", "any"))


def errors() -> str:
    """The index of error messages: each with its module; what differs from case to case is shown as an ellipsis."""
    found: dict[str, set[tuple[str, str]]] = {heading: set() for heading in PACKAGES.values()}
    for package in ("quant", "hw", "flows"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            prefix = max((each for each in PACKAGES if f"{module}.".startswith(f"{each}.")), key=len)
            found[PACKAGES[prefix]] |= {(message, module) for message in _messages(path.read_text())}
    count = sum(map(len, found.values()))
    lines = [
        "# Error messages",
        "",
        f"All {count:,} messages, in alphabetical order, with the module that has them. `…` stands for names and",
        "numbers of the case. Each says what is wrong and, where there is one, the remedy;",
        "[troubleshooting](../troubleshooting.md) says more about the frequent ones.",
        "",
    ]
    for heading, rows in found.items():
        lines += [f"## {heading}", "", "| message | module |", "|---|---|"]
        lines += [f"| {_cell(message)} | `{module}` |" for message, module in sorted(rows, key=_order)]
        lines.append("")
    return "\n".join(lines)


def _order(row: tuple[str, str]) -> tuple[str, str]:
    return row[0].strip("…`' ").lower(), row[1]


def _messages(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _name(node.func).endswith(RAISED):
            texts = [_template(argument) for argument in node.args]
            longest = max((text for text in texts if text and " " in text), key=len, default=None)
            if longest and len(longest.replace("…", "").split()) > 1:
                yield longest


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _template(node: ast.expr) -> str | None:
    """The text of a string or formatted string, with an ellipsis for each value; None for another expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _template(node.left), _template(node.right)
        return None if left is None and right is None else f"{left or '…'}{right or '…'}"
    return None
