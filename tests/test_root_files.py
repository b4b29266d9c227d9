"""What stands at the root for people and for tools: that each file says what its reader needs, and all say the same."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import discogp
from discogp.circuits.artifact import load_circuit
from discogp.errors import DiscoGPError
from discogp.versions import versions
from tests.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
DOCUMENTS = sorted(ROOT.glob("*.md"))


def parsed(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def least_python() -> tuple[int, int]:
    found = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["project"]["requires-python"])
    assert found is not None
    return int(found[1]), int(found[2])


def release_of_changelog() -> tuple[str, str]:
    """The newest version with a date."""
    found = re.search(r"^## (\d+\.\d+\.\d+) – (\d{4}-\d\d-\d\d)$", text("CHANGELOG.md"), re.MULTILINE)
    assert found is not None
    return found[1], found[2]


def test_the_version_is_written_once() -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "discogp.__version__"}
    values = [
        node.value
        for node in ast.parse(text("discogp/__init__.py")).body
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["__version__"]
    ]
    assert [ast.literal_eval(value) for value in values] == [discogp.__version__], "packaging reads a literal"
    assert versions()["discogp-explorer"] == discogp.__version__


def test_packaging_finds_version_and_licence_without_importing_torch() -> None:
    code = (
        "import sys\n"
        "from setuptools import Distribution\n"
        "from setuptools.config.pyprojecttoml import apply_configuration\n"
        "made = apply_configuration(Distribution(), 'pyproject.toml').metadata\n"
        "print(made.get_version(), made.license_expression, *made.license_files)\n"
        "sys.exit('torch' in sys.modules or 'discogp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [discogp.__version__, "MIT", "LICENSE"]


def test_citation_is_of_this_release_and_names_the_paper() -> None:
    citation = parsed("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation), "what the format asks for"
    assert (citation["version"], citation["date-released"]) == release_of_changelog()
    assert citation["version"] == discogp.__version__
    assert citation["license"] == PROJECT["project"]["license"]
    for paper in citation["references"]:
        assert {"arXiv:2407.03779"} == {identifier["value"] for identifier in paper["identifiers"]}
        assert paper["year"] in (2024, 2025)
        assert all(set(author) == {"given-names", "family-names"} for author in paper["authors"])


def test_continuous_integration_runs_every_test_on_the_versions_that_are_allowed() -> None:
    workflow = parsed(".github/workflows/tests.yml")
    (job,) = workflow["jobs"].values()
    pythons = [tuple(map(int, version.split("."))) for version in job["strategy"]["matrix"]["python"]]
    assert min(pythons) == least_python()
    assert pythons == [(3, minor) for minor in range(pythons[0][1], pythons[-1][1] + 1)], "none left out in between"
    commands = "\n".join(step.get("run", "") for step in job["steps"])
    assert "make test PYTHON=python" in commands
    assert job["env"]["DISCOGP_REQUIRE_BROWSER"] == "1"
    assert True in workflow, "`on`, which YAML 1.1 reads as true"
    for target in re.findall(r"make (\w+)", commands):
        assert re.search(rf"^{target}:", text("Makefile"), re.MULTILINE), target


def test_tools_check_the_python_that_is_required() -> None:
    major, minor = least_python()
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{major}{minor}"
    assert PROJECT["tool"]["pyright"]["pythonVersion"] == f"{major}.{minor}"


def test_a_commit_is_checked_as_make_lint_checks() -> None:
    hooks = {hook["id"]: hook for repo in parsed(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]}
    linted = re.findall(r"^\t\$\(RUN\) -m (ruff check|ruff format|pyright)", text("Makefile"), re.MULTILINE)
    assert len(linted) == 3
    for tool in linted:
        hook = hooks[tool.replace(" ", "-")]
        assert hook["language"] == "system", "the pinned one, without a network"
        module, *_ = hook["entry"].removeprefix(".venv/bin/python -m ").split()
        importlib.import_module(module)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(set(ids)) == len(ids)
    assert all(field["type"] in ("input", "textarea", "dropdown", "checkboxes") for field in fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_issue_forms_are_of_what_goes_wrong_and_what_is_wanted() -> None:
    assert {path.stem for path in FORMS} >= {"bug", "wrong_circuit", "new_task"}
    assert isinstance(parsed(".github/ISSUE_TEMPLATE/config.yml")["blank_issues_enabled"], bool)


def test_the_changelog_is_dated_newest_first() -> None:
    headings = re.findall(r"^## (.+)$", text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    dates = [re.fullmatch(r"\d+\.\d+\.\d+ – (\d{4}-\d\d-\d\d)", heading) for heading in headings[1:]]
    assert all(dates)
    days = [found[1] for found in dates if found]
    assert days == sorted(days, reverse=True)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_of_a_document_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target


def test_security_promises_that_the_code_keeps(tmp_path: Path) -> None:
    """The page listens here only, no code of a model is trusted, and a circuit that is a pickle is refused."""
    with (ROOT / ".streamlit/config.toml").open("rb") as file:
        assert tomllib.load(file)["server"]["address"] == "127.0.0.1"
    loads, pretrained = [], []
    for path in [*(ROOT / "discogp").rglob("*.py"), *(ROOT / "app").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                options = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
                loads += [options] if ast.unparse(node.func) == "torch.load" else []
                pretrained += [options] if ast.unparse(node.func).endswith(".from_pretrained") else []
    assert loads
    assert all(options.get("weights_only") is True for options in loads)
    assert pretrained
    assert not [options for options in pretrained if options.get("trust_remote_code")], "off is the default"
    unpicklers = re.compile(r"\bpickle\.(load|loads|Unpickler)\b|\bnp\.load\(|\bjoblib\b|\bdill\b")
    for path in (ROOT / "discogp").rglob("*.py"):
        assert not unpicklers.search(path.read_text(encoding="utf-8")), path
    example = ROOT / "assets/examples/mini-ioi-edges"
    (tmp_path / "circuit.json").write_bytes((example / "circuit.json").read_bytes())
    (tmp_path / "masks.safetensors").write_bytes(b"\x80\x04N.")
    with pytest.raises(DiscoGPError):
        load_circuit(tmp_path)
