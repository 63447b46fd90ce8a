"""Commands on the Data Factory: deploy puts Ebb's pipeline into it, from the files of infra/adf."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from shared.domain.runs import Part
from shared.errors import Refused
from shared.terminal.console import DONE, Terminal

PARTS = Path(__file__).resolve().parents[2] / "infra" / "adf"
KINDS = ("linkedService", "dataset", "pipeline")  # each names what came before it


def parts(folder: Path = PARTS) -> tuple[Part, ...]:
    """All parts, in an order in which each finds what it refers to."""
    found = []
    for kind in KINDS:
        for path in sorted((folder / kind).glob("*.json")):
            try:
                body = json.loads(path.read_text("utf-8"))
                found.append(Part(kind=kind, name=body["name"], properties=body["properties"]))
            except (OSError, ValueError, KeyError) as error:
                raise Refused(
                    f"reading {path}: {type(error).__name__}; restore the file"
                ) from error
    if not any(part.kind == "pipeline" for part in found):
        raise Refused(f"reading {folder}: no pipeline is there; run this from Ebb's own folder")
    return tuple(found)


def deploy(options: argparse.Namespace, terminal: Terminal) -> int:
    """Put every part into the factory; harmless to repeat."""
    wanted = parts(Path(options.folder))
    factory = terminal.app().ports.factory
    for part in wanted:
        factory.deploy(part)
        terminal.progress(f"{part.kind} {part.name}")
    factory.check()
    terminal.progress("")
    told = [{"kind": part.kind, "name": part.name} for part in wanted]
    terminal.show(told, lambda: f"{len(told)} parts deployed; a spec may say engine: adf")
    return DONE
