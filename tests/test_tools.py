"""Upkeep: the repository's address, the chapters' first cells, npm assets, the book's Sphinx extension."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import address
import chapter
import mmlib_book
import mmlib_execution
import mmlib_light
import nbformat
import pytest
import set_address
import vendor
from docutils import nodes
from docutils.utils import new_document

ROOT = Path(__file__).resolve().parents[1]
HERE = "https://github.com/some-one/some.book"


def tracked() -> list[Path]:
    """The repository's own text files."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    paths = [ROOT / line for line in listing.stdout.splitlines()]
    return [p for p in paths if p.is_file() and p.suffix not in (".npz", ".npy", ".bin", ".xz", ".gz", ".png", ".wav")]


# the address


def test_every_mention_of_the_repository_is_the_one_in_pyproject() -> None:
    ours = address.slug(address.read())
    mentions = {
        "_config.yml": "url: https://github.com/{}\n",
        "CITATION.cff": 'repository-code: "https://github.com/{}"',
        "README.md": "https://github.com/{} ",
    }
    for file, text in mentions.items():
        assert text.format(ours) in (ROOT / file).read_text("utf8"), file
    for path in address.files():
        text = path.read_text("utf8")
        for found in re.findall(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/blob", text):
            assert found == ours, path
        for found in re.findall(r"git\+https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?[\"'\\ @]", text):
            assert found == ours, path


def test_one_command_changes_the_address_everywhere(tmp_path: Path) -> None:
    copied = [path.relative_to(ROOT) for path in address.files()]
    for path in copied:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    old = address.slug(address.read())
    changed = set_address.set_address(HERE, tmp_path)
    assert {p.name for p in changed} >= {"pyproject.toml", "_config.yml", "CITATION.cff", "README.md"}
    assert address.read(tmp_path) == HERE
    for path in copied:
        before, after = (ROOT / path).read_text("utf8"), (tmp_path / path).read_text("utf8")
        assert old not in after, path
        assert after.count("some-one/some.book") == before.count(old), path
    assert set_address.set_address(HERE, tmp_path) == []
    set_address.set_address(f"https://github.com/{old}", tmp_path)
    for path in copied:
        assert (tmp_path / path).read_text("utf8") == (ROOT / path).read_text("utf8"), path


def test_a_longer_name_that_starts_the_same_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\n[project.urls]\nRepository = "https://github.com/a/b"\n')
    (tmp_path / "README.md").write_text(
        "https://github.com/a/b-c https://github.com/a/b https://github.com/a/b.git https://github.com/x/a/b"
    )
    set_address.set_address("https://github.com/n/m", tmp_path)
    assert (tmp_path / "README.md").read_text() == (
        "https://github.com/a/b-c https://github.com/n/m https://github.com/n/m.git https://github.com/x/a/b"
    )


@pytest.mark.parametrize(
    "bad", ["", "github.com/a/b", "https://github.com/a", "https://example.org/a/b", "https://github.com/a/b/c"]
)
def test_an_address_that_is_none_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="expected https://github.com/OWNER/REPO, found"):
        address.slug(bad)


def test_the_placeholder_is_an_address_that_nobody_can_register() -> None:
    owner = address.slug(address.PLACEHOLDER).partition("/")[0]
    assert not address.OWNER.fullmatch(owner)
    assert address.check_new(address.PLACEHOLDER)
    for bad in ("-a", "a-", "a--b", "a.b", "a_b", "a" * 40):
        with pytest.raises(ValueError, match=r"address: expected an owner that GitHub can have .*found"):
            address.check_new(f"https://github.com/{bad}/book")
    for fine in ("a", "some-one", "A1-b2", "a" * 39):
        assert address.check_new(f"https://github.com/{fine}/some.book")


def test_nothing_is_published_while_the_address_is_not_set_or_another(tmp_path: Path) -> None:
    def fault(found: str, expected: str = "") -> str | None:
        (tmp_path / "pyproject.toml").write_text(f'[project]\n[project.urls]\nRepository = "{found}"\n')
        return set_address.fault(expected, tmp_path)

    assert "not set" in str(fault(address.PLACEHOLDER))
    assert "not set" in str(fault(address.PLACEHOLDER, address.PLACEHOLDER))
    assert f"the pages name {HERE}, and this is https://github.com/n/m" in str(fault(HERE, "https://github.com/n/m"))
    assert fault(HERE, HERE.replace("some-one", "Some-One")) is None  # GitHub does not mind the case
    assert fault(HERE) is None
    steps = (ROOT / ".github/workflows/publish.yml").read_text("utf8")
    assert 0 < steps.index("set_address.py --check") < steps.index("make book") < steps.index("deploy-pages@")


def test_actions_are_pinned_by_commit() -> None:
    texts = [path.read_text("utf8") for path in (ROOT / ".github/workflows").glob("*.yml")]
    uses = re.findall(r"uses: (.*)", "\n".join(texts))
    assert len(uses) >= 8
    for use in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", use), use


# the chapters' first cells


def notebook(*sources: tuple[str, str]) -> Any:
    make = {"m": nbformat.v4.new_markdown_cell, "c": nbformat.v4.new_code_cell}
    return nbformat.v4.new_notebook(cells=[make[kind](source) for kind, source in sources])


def test_a_chapter_gets_its_link_and_first_cell_once() -> None:
    nb = notebook(("m", "# Title\n\nWhat you will see."), ("m", "More."), ("c", "x = 1"))
    chapter.refresh(nb, "notebooks/03_x.ipynb", HERE, "v1")
    link = "[Open in Colab](https://colab.research.google.com/github/some-one/some.book/blob/main/notebooks/03_x.ipynb)"
    assert nb.cells[0].source == f"# Title\n\n{link}\n\nWhat you will see."
    assert [cell.cell_type for cell in nb.cells] == ["markdown", "markdown", "code", "code"]
    assert nb.cells[2].source == chapter.install_code(HERE, "v1")
    assert nb.cells[2].metadata.tags == ["hide-input", "remove-output"]
    before = nbformat.writes(nb)
    chapter.refresh(nb, "notebooks/03_x.ipynb", HERE, "v1")
    assert nbformat.writes(nb) == before
    chapter.refresh(nb, "notebooks/03_x.ipynb", "https://github.com/n/m", "v1")
    assert nbformat.writes(nb) == before.replace("some-one/some.book", "n/m")


def test_the_first_cell_leaves_torch_alone_and_is_idle_where_mmlib_is() -> None:
    code = chapter.install_code(HERE, "v1")
    assert "--no-deps" in code
    assert f'"mmlib @ git+{HERE}@v1"' in code  # quoted, and one release
    plain = re.sub(r"^( *)%pip.*$", r"\1raise AssertionError('must not install')", code, flags=re.MULTILINE)
    exec(compile(plain, "cell", "exec"), {})


def test_without_an_address_the_first_cell_installs_nothing_and_says_why() -> None:
    code = chapter.install_code(address.PLACEHOLDER, "v1")
    assert "git+" not in code
    exec(compile(code, "cell", "exec"), {})  # mmlib is here
    with pytest.raises(SystemExit, match="tools/set_address.py"):
        exec(compile(code.replace("import mmlib", "import no_such").replace('"mmlib"', '"no_such"'), "cell", "exec"), {})


def test_the_first_cell_does_not_install_mmlib_where_only_what_it_needs_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    code = chapter.install_code(HERE, "v1")
    plain = re.sub(r"^( *)%pip.*$", r"\1raise AssertionError('must not install')", code, flags=re.MULTILINE)
    monkeypatch.setitem(sys.modules, "no_such_need", None)
    with pytest.raises(ModuleNotFoundError, match="no_such_need"):
        exec(compile(plain.replace("import mmlib", "import no_such_need", 1), "cell", "exec"), {})


def test_a_chapter_without_a_title_is_refused() -> None:
    with pytest.raises(ValueError, match=r"notebooks/x\.ipynb: expected a first cell"):
        chapter.refresh(notebook(("c", "x = 1")), "notebooks/x.ipynb", HERE, "v1")


def test_check_reports_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "1.0"\n[project.urls]\nRepository = "{HERE}"\n')
    path = tmp_path / "x.ipynb"
    nbformat.write(notebook(("m", "# T"), ("c", "x = 1")), path)
    before = path.read_bytes()
    assert chapter.refresh_file(path, tmp_path, check=True)
    assert path.read_bytes() == before
    assert chapter.refresh_file(path, tmp_path)
    assert not chapter.refresh_file(path, tmp_path, check=True)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
def test_every_chapter_is_up_to_date(path: Path) -> None:
    assert not chapter.refresh_file(path, check=True), f"run: python tools/chapter.py {path.relative_to(ROOT)}"


# npm assets

FAKE_NPM = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --prefix ] && d=$2; shift; done
mkdir -p "$d/node_modules/katex/dist/fonts"
echo math > "$d/node_modules/katex/dist/katex.min.js"
echo style > "$d/node_modules/katex/dist/katex.min.css"
echo font > "$d/node_modules/katex/dist/fonts/a.woff2"
"""


def fake_npm(folder: Path, script: str) -> str:
    npm = folder / "npm"
    npm.write_text(script)
    npm.chmod(0o755)
    return str(npm)


def test_assets_are_put_where_the_pages_look_and_fetched_once(tmp_path: Path) -> None:
    target = tmp_path / "vendor"
    npm = fake_npm(tmp_path, FAKE_NPM)
    assert vendor.fetch(target, npm)
    assert (target / mmlib_light.KATEX).read_text() == "math\n"
    assert (target / mmlib_light.KATEX_CSS).read_text() == "style\n"
    assert (target / "katex" / "fonts" / "a.woff2").exists()
    assert vendor.have_all(target)
    assert vendor.fetch(target, "/no/such/npm")  # not asked again
    (target / "versions.txt").write_text("katex@0.1.0\n")
    assert not vendor.have_all(target)  # another version is fetched again


def test_without_npm_nothing_is_written_and_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    vendor.main(tmp_path / "vendor")
    assert not (tmp_path / "vendor").exists()
    said = capsys.readouterr().err
    assert "npm was not found" in said
    assert "CDN" in said
    assert "sudo dnf install nodejs-npm" in said  # no package manager was found, so each one's command is there


def test_a_failing_npm_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        vendor.fetch(tmp_path / "vendor", fake_npm(tmp_path, "#!/bin/sh\nexit 7\n"))
    with pytest.raises(FileNotFoundError, match=r"katex\.min\.js"):
        vendor.fetch(tmp_path / "vendor", fake_npm(tmp_path, "#!/bin/sh\nexit 0\n"))


# the package and its files


def test_the_library_itself_pins_nothing_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    assert not [line for line in project["dependencies"] if "==" in line or "<" in line]


def test_the_wheel_carries_what_is_stored() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["mmlib"], "force-include": {f"book/{n}": f"mmlib/_{n}" for n in ("results", "claims", "speed")}}
    assert list((ROOT / "book" / "results").glob("*.json"))
    assert list((ROOT / "book" / "claims").glob("*.json"))
    assert list((ROOT / "book" / "speed").glob("*.json"))


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    registries = ["py" + "pi.org", "pythonhosted" + ".org", "registry.npm" + "js", "conda" + ".anaconda"]
    machines = ["/wo" + "rk/", "/ro" + "ot/", "/home/" + "user", "/tmp/" + "brief"]
    for path in tracked():
        text = path.read_text("utf8", errors="replace")
        for name in registries + machines:
            assert name not in text, f"{path.relative_to(ROOT)} names {name}"


# the Sphinx extension


def test_an_image_without_a_description_is_a_warning(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(mmlib_book.logger, "warning", lambda text, *args, **how: warned.append(text % args))
    document = new_document("page")
    document += [nodes.image(uri="a.png"), nodes.image(uri="b.png", alt=" "), nodes.image(uri="c.png", alt="A map.")]
    mmlib_book.need_alt(SimpleNamespace(), document)  # type: ignore[arg-type]
    assert [text.split("(")[0] for text in warned] == [f"image without alternative text: {n}.png " for n in "ab"]


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://cdn.example/x.js">',
        "<script async src='//cdn.example/x.js'>",
        '<link rel="stylesheet" href="https://fonts.example/x.css">',
        '<link href="https://fonts.example" rel="preconnect">',
        '<img alt="a" src="http://img.example/x.png">',
        '<iframe src="https://video.example/1">',
        '<style>@import url("https://fonts.example/x.css")</style>',
    ],
)
def test_what_a_page_would_load_from_elsewhere_is_found(tag: str) -> None:
    page = f"<html><head>{tag}</head><body><article></article></body></html>"
    assert len(mmlib_book.problems(page)) == 1
    assert not mmlib_book.problems(page, allow_cdn=True)


@pytest.mark.parametrize(
    "tag",
    [
        '<a href="https://example.org">elsewhere</a>',
        '<script src="../_static/x.js"></script>',
        '<link rel="canonical" href="https://example.org/">',
        '<img alt="a digit" src="data:image/png;base64,AAAA">',
        '<svg role="img" aria-label="A map."></svg>',
        "<svg viewBox='0 0 1 1'></svg>",
    ],
)
def test_links_and_local_files_are_fine(tag: str) -> None:
    assert not mmlib_book.problems(f"<article>{tag}</article>")


@pytest.mark.parametrize(
    "tag", ['<img src="a.png">', '<img src="a.png" alt=" ">', '<svg role="img">', '<svg role="img" aria-label="">']
)
def test_pictures_in_raw_html_need_a_description_too(tag: str) -> None:
    (problem,) = mmlib_book.problems(f"<nav><img src='logo.png'></nav><article>{tag}</article>")
    assert "without a description" in problem


def test_a_property_keeps_its_first_sentence() -> None:
    from sphinx.ext.napoleon import Config, GoogleDocstring

    for text in ("One row per seed and epoch: the columns.\n\nMore.", "The columns.", "modality -> [B], bool; None: all."):
        lines = GoogleDocstring(text, Config(), what="property").lines()
        mmlib_book.plain_attributes(SimpleNamespace(), "property", "x", None, None, lines)  # type: ignore[arg-type]
        assert "\n".join(lines).strip() == text


def test_faults_of_the_theme_are_mended_once() -> None:
    page = '<div id="pst-primary-sidebar" class="x">'
    page += '<button class="btn search-button-field" title="t" aria-label="Search">Search</button>'
    better = mmlib_book.repair(page)
    assert 'role="complementary"' in better
    assert 'aria-label="Search"' not in better
    assert mmlib_book.repair(better) == better


def test_thebe_goes_and_the_page_says_what_it_is() -> None:
    def script(name: str, body: str = "", **more: str) -> Any:
        return SimpleNamespace(filename=name, attributes={"body": body, **more})

    context: dict[str, Any] = {
        "script_files": [script("_static/a.js"), script("https://cdn.example/thebe/x.js"), script("", "const thebe_url = 1")],
        "css_files": ["_static/a.css", "_static/sphinx-thebe.css"],
    }
    app: Any = SimpleNamespace(config=SimpleNamespace(mmlib_book_description='Two "senses"'))
    mmlib_book.drop_thebe(app, "page", "page.html", context, None)
    assert [s.filename for s in context["script_files"]] == ["_static/a.js"]
    assert context["css_files"] == ["_static/a.css"]
    assert '<meta name="description" content="Two &quot;senses&quot;" />' in context["metatags"]


@pytest.mark.parametrize("there", [True, False])
def test_math_is_set_here_where_katex_was_fetched_and_said_not_to_be_elsewhere(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(mmlib_book, "VENDOR", tmp_path)
    monkeypatch.setattr(mmlib_book.logger, "info", lambda text, *args: said.append(text % args if args else text))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    if there:
        for name in (mmlib_light.KATEX, mmlib_light.KATEX_CSS):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
    config: Any = SimpleNamespace(html_static_path=["css"])
    mmlib_book.serve_locally(SimpleNamespace(), config)  # type: ignore[arg-type]
    assert (str(tmp_path) in config.html_static_path) == there
    assert ("CDN" in " ".join(said)) != there
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not mmlib_book.vendored()  # KaTeX without anything to run it


# notebooks executed once


def project(root: Path) -> Path:
    for name, text in {
        "requirements-hashes.txt": "a==1\n",
        "requirements.txt": "t==1\n",
        "mmlib/a.py": "A = 1\n",
        "book/results/x.json": "{}\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    "change",
    [
        lambda root, env: (root / "mmlib/a.py").write_text("A = 2\n"),
        lambda root, env: (root / "mmlib/b.npz").write_bytes(b"data"),
        lambda root, env: (root / "book/results/x.json").write_text("[]\n"),
        lambda root, env: (root / "requirements-hashes.txt").write_text("a==2\n"),
        lambda root, env: (root / "requirements.txt").write_text("t==2\n"),
        lambda root, env: env.setenv("MMLIB_SEED_OFFSET", "100"),
    ],
    ids=["code", "data", "result", "lock", "torch", "seeds"],
)
def test_outputs_of_another_state_are_forgotten(
    change: Callable[[Path, pytest.MonkeyPatch], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = project(tmp_path), tmp_path / "_build" / ".jupyter_cache"
    assert not mmlib_execution.prepare_cache(cache, root)
    (cache / "executed").mkdir()
    (root / "mmlib" / "__pycache__").mkdir()
    (root / "mmlib" / "__pycache__" / "a.pyc").write_bytes(b"x")  # what running leaves behind is no change
    assert mmlib_execution.prepare_cache(cache, root)
    assert (cache / "executed").exists()
    change(root, monkeypatch)
    assert not mmlib_execution.prepare_cache(cache, root)
    assert not (cache / "executed").exists()


@pytest.mark.slow
def test_a_notebook_is_run_once_and_a_failing_one_is_not_kept(tmp_path: Path) -> None:
    root = project(tmp_path)
    shutil.copytree(ROOT / "book" / "_ext", root / "book" / "_ext")
    shutil.copy(ROOT / "conftest.py", root)
    (root / "pytest.ini").write_text("[pytest]\n")
    (root / "notebooks").mkdir()
    for name, code in {"good": "open('ran', 'a').write('x')", "bad": "1 / 0"}.items():
        nb = notebook(("m", f"# {name}"), ("c", code))
        nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nb, root / "notebooks" / f"{name}.ipynb")

    def run() -> str:
        command = [sys.executable, "-m", "pytest", "--nbmake", "notebooks", "-p", "no:cacheprovider", "-n", "2"]
        return subprocess.run(command, cwd=root, capture_output=True, text=True).stdout

    first, second = run(), run()
    assert "1 failed, 1 passed" in first, first
    assert "1 failed, 1 passed" in second, second
    assert "good.ipynb: already executed" in second
    assert (root / "notebooks" / "ran").read_text() == "x"
    from jupyter_cache import get_cache

    (record,) = get_cache(root / "_build" / ".jupyter_cache").list_cache_records()
    assert record.uri.endswith("notebooks/good.ipynb")
    assert not list((root / "_build").glob("executed-*"))
