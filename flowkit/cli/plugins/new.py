"""Implements `flowkit plugins new`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from flowkit.cli.terminal import echo

TEMPLATE = Path(__file__).with_name("template")
"""The templates: files of every package in common/, and those of a kind of plugin in a directory of its name."""

KINDS = sorted({path.name for path in TEMPLATE.iterdir()} - {"common"})
"""The kinds of plugin; a bijector has two templates. Their table isn't read: it would import pydantic for `--help`."""


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is not one of {', '.join(KINDS)}")
    return kind


def new(
    name: Annotated[str, typer.Argument(help="The namespace of its plugins in specs.", show_default=False)],
    kind: Annotated[
        str,
        typer.Option(
            metavar=f"[{'|'.join(KINDS)}]", callback=_known, autocompletion=lambda: KINDS, help="The plugin's kind."
        ),
    ] = "bijector",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The directory. \\[default: flowkit-NAME]")
    ] = None,
) -> None:
    """Begin a plugin of your own: a package that installs, passes its tests, trains and exports, for you to edit.

    Example: flowkit plugins new mine --kind transformer
    """
    import shlex

    from flowkit.errors import PluginError
    from flowkit_runtime.atomic import making

    _check(name)
    directory = output or Path(f"flowkit-{name}")
    try:
        with making(directory) as temporary:
            for path, text in _rendered(name, kind):
                (temporary / path).parent.mkdir(parents=True, exist_ok=True)
                (temporary / path).write_text(text, encoding="utf-8")
    except FileExistsError as error:
        raise PluginError(f"{directory} exists and is not empty: choose another with -o") from error
    except OSError as error:
        raise PluginError(f"{directory} can't be made: {error.strerror}") from error
    plugin = _plugin(kind)
    echo(
        f"{directory}: the {kind} {name}/{plugin}. Its code is in flowkit_{name}/{plugin}.py, its fields are in "
        f"flowkit_{name}/plugin.py.\n\n"
        f"    cd {shlex.quote(str(directory))}\n"
        "    pip install -e '.[test]'\n"
        "    pytest\n"
        "    flowkit train example.yaml -o runs/example\n"
        "    flowkit export runs/example -o exports/example"
    )


def _check(name: str) -> None:
    """Raise PluginError, which says why, if nobody could install a package for this namespace."""
    import re
    from importlib.util import find_spec

    from flowkit.errors import PluginError
    from flowkit.plugin import Registry
    from flowkit.plugin.descriptor import NAME

    usable = re.sub(r"\W|-", "_", name.lower(), flags=re.ASCII).removeprefix("flowkit_").rstrip("_")
    if name != usable or not NAME.fullmatch(name):
        advice = f"; did you mean {usable}?" if NAME.fullmatch(usable) else ""
        raise PluginError(
            f"{name!r} can't be a namespace: it has lower-case letters, digits and _, begins with a letter, and "
            f"doesn't begin with flowkit_ or end with _{advice}"
        )
    if name in Registry.discover().entries or find_spec(f"flowkit_{name}"):
        raise PluginError(f"the namespace {name} is taken by a package that is installed here: choose another name")


def _rendered(name: str, kind: str) -> Iterator[tuple[Path, str]]:
    """Yield the paths and texts of the package's files.

    NAME, PLUGIN and a class's Name… are replaced by the real names.
    """
    import re

    camel = "".join(part.capitalize() for part in name.split("_"))
    for root in (TEMPLATE / "common", TEMPLATE / kind):
        for file in sorted(root.rglob("*")):
            if file.is_file() and file.suffix != ".pyc":  # pip compiles all that it installs
                path = Path(str(file.relative_to(root)).replace("NAME", name))
                text = re.sub(r"\bName(?=[A-Z])", camel, file.read_text(encoding="utf-8"))
                yield path, text.replace("NAME", name).replace("PLUGIN", _plugin(kind))


def _plugin(kind: str) -> str:
    """Return the name of the template's plugin, which is also that of the module of its code."""
    (code,) = {path.stem for path in (TEMPLATE / kind / "flowkit_NAME").glob("*.py")} - {"plugin"}
    return code
