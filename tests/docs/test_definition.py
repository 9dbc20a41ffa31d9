import json
import re
from pathlib import Path

from engine import cutting
from engine.checking import problems
from engine.definition import Workflow
from engine.registry import Registry

PAGE = (Path(__file__).parents[2] / "docs" / "definition.md").read_text(encoding="utf-8")
REGISTRY = Registry.load(["nodes"])


def test_every_example_of_the_page_is_accepted_and_can_be_planned() -> None:
    examples = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(examples) == 8
    for text in examples:
        assert problems.check_text(text, REGISTRY) == (json.loads(text), [])
        cutting.build(Workflow.parse(json.loads(text)), REGISTRY)


def test_every_key_of_the_language_is_on_the_page() -> None:
    definitions = json.loads(
        (Path(__file__).parents[2] / "engine" / "schemas" / "workflow.skeleton.json").read_text()
    )["$defs"]
    names = (
        "definition",
        "node",
        "edge",
        "body",
        "for_each",
        "loop",
        "handler",
        "compensation",
        "concurrency",
        "rate",
        "step",
    )
    keys = {key for name in names for key in definitions[name]["properties"]}
    assert {key for key in keys if f"`{key}`" not in PAGE} == set()
