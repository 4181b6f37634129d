"""Chapters as Colab and JupyterLab show them: plain Markdown, that the book turns into citations and exercises."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import chapter
import mmlib_papers
import nbformat
import pytest
from mmlib_plain import INTERVAL, Converter, noise

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHAPTERS = [p for p in NOTEBOOKS if p.name[0].isdigit() and not p.name.startswith("00")]  # the tour is none
WANG = mmlib_papers.read("@misc{wang, author={Wang, A and Tran, B and Feiszli, C}, title={T}, year=2020, eprint={1905.12681}}")[0]
#: Allowed is what Colab, JupyterLab and GitHub show alike: CommonMark with tables, formulas between dollars, <details> for
#: solutions, and a comment, which they do not show, as the mark of an exercise.
PLAIN = """# Title

> *You need:* [MLA](06_mla.ipynb), `{name}` and $\\\\frac{a}{b}$, [`mmlib.fit`](../book/api.md),
> ![a digit](a.png) ([Wang et al., 2020](https://arxiv.org/abs/1905.12681)).

<!-- exercise: ex-a -->
**Exercise 4.1. Why?** Because $x < 3$ and {this} is a set, $s_{m}$.

```python
f"{cite:p}`x`"  # [](a.ipynb)
```

<details>
<summary>Hint</summary>

Look at $x$.

</details>

<details>
<summary>Solution</summary>

$$p(c \\\\mid x) = {{x}}$$

</details>

| a | b |
|---|---|
| 1 % | <https://example.org> |
"""


def texts(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_chapters_hold_nothing_that_markdown_viewers_show_as_noise(path: Path) -> None:
    for text in texts(path):
        assert noise(text) == [], text[:200]
    for cell in nbformat.read(path, 4).cells:  # what a cell prints as Markdown is shown there, too
        if cell.cell_type == "code":
            assert not re.search(r"\{(?:cite|ref|numref|doc|py):|\{(?:ref|doc|numref)\}`|\[\]\(", cell.source), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_links_of_chapters_lead_somewhere_and_papers_are_named_in_one_way(path: Path) -> None:
    papers = {paper.address: paper for paper in mmlib_papers.papers()}
    for text in texts(path):
        body = text.partition(chapter.REFERENCES)[0]
        for label, target in re.findall(r"\[([^\[\]]*)\]\(([^()\s]+)\)", text):
            assert label.strip(), text
            parts = urlsplit(target)
            if not parts.scheme and parts.path:
                assert (path.parent / parts.path).exists(), target
        for paper in [p for address, p in papers.items() if address and address in body]:
            rest = body.replace(paper.parenthetical, "").replace(paper.textual, "")
            assert paper.address not in rest, f"expected {paper.textual} or {paper.parenthetical}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_the_book_gets_every_exercise_solution_and_citation(path: Path) -> None:
    convert, plain = Converter(mmlib_papers.papers()), texts(path)
    book = "\n".join(convert(text) for text in plain)
    labels = re.findall(r"^<!-- exercise: ([\w-]+) -->$", "\n".join(plain), re.MULTILINE)
    assert labels or path not in CHAPTERS, "a chapter has exercises"
    assert re.findall(r"^`{5}\{exercise\}\n:label: (.*)$", book, re.MULTILINE) == labels
    assert set(re.findall(r"^`{5}\{solution\} (.*)$", book, re.MULTILINE)) <= set(labels)
    assert book.count("{solution}") == "\n".join(plain).count("<summary>Solution</summary>")
    assert book.count("{admonition} Hint") == "\n".join(plain).count("<summary>Hint</summary>")
    cited = mmlib_papers.cited("\n".join(plain), mmlib_papers.papers())
    assert {paper.key for paper in cited} == set(re.findall(r"\{cite:[pt]\}`(\w+)`", book))
    assert not re.search(r"^\*\*Exercise \d|<details>|<!--", book, re.MULTILINE)


def test_labels_of_exercises_are_unique_in_the_book() -> None:
    labels = [label for path in NOTEBOOKS for label in re.findall(r"<!-- exercise: ([\w-]+) -->", "\n".join(texts(path)))]
    assert len(labels) == len(set(labels))


def test_plain_markdown_is_no_noise() -> None:
    assert noise(PLAIN.replace("\\\\", "\\")) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{cite:p}`wang2020makes` says", "a role"),
        ("see {py:class}`mmlib.Fusion`", "a role"),
        ("```{exercise}\n:label: x\nText\n```", "a directive"),
        (":::{note}\nText\n:::", "a directive"),
        ("You need: [](06_mla.ipynb).", "a link without text"),
        ("[ ](06_mla.ipynb)", "a link without text"),
        ("(here)=\n## Title", "a target"),
        ("{{ version }}", "a substitution"),
        ("% a comment", "a comment"),
        ("+++", "a comment or a block break"),
        ("[text](a.ipynb){.wide}", "attributes"),
        ("a <b>bold</b> word", "HTML"),
        ("<!-- a comment -->", "HTML"),
        ("<!-- exercise: ex-a -->\nNo title.", "an exercise"),
        ("<!-- exercise: ex-a -->\n\n**Exercise 4.1. Why?** A blank line.", "an exercise"),
        ("<!-- exercise: ex-a -->\n**Exercise. Why?** No number.", "an exercise"),
        ("<details>\n<summary>Solution</summary>\nNo blank line.\n</details>", "a solution"),
        ("<details>\n<summary>Solution</summary>\n\nNo end.", "a solution"),
    ],
)
def test_noise_is_named(text: str, what: str) -> None:
    assert [found for found in noise(f"# Title\n\n{text}\n") if found.startswith(what)]


def test_citations_become_roles_and_only_they() -> None:
    convert = Converter([WANG])
    assert convert(f"As {WANG.textual} say {WANG.parenthetical}.") == "As {cite:t}`wang` say {cite:p}`wang`."
    for other in ("[their paper](https://arxiv.org/abs/1905.12681)", "[Wang et al. (2020)](https://arxiv.org/abs/1)"):
        assert convert(other) == other


def test_names_of_the_library_become_links_to_their_documentation() -> None:
    convert = Converter([])
    assert (
        convert("[`mmlib.fusion.Fusion`](../book/api.md), [`mmlib.fit`](api.md)")
        == "{py:obj}`mmlib.fusion.Fusion`, {py:obj}`mmlib.fit`"
    )
    assert convert("[The library](../book/api.md)") == "[The library](../book/api.md)"


def test_exercises_end_where_the_next_thing_starts() -> None:
    text = (
        "## Exercises\n\n<!-- exercise: ex-a -->\n**Exercise 4.1. One.** Text.\n\n```python\n# no heading\n```\n\n"
        "<!-- exercise: ex-b -->\n**Exercise 4.2. Two.** Text.\n\n"
        "<details>\n<summary>Hint</summary>\n\nThink.\n\n</details>\n\n"
        "<details>\n<summary>Solution</summary>\n\nFor two.\n\n</details>\n\n## More\n"
    )
    assert Converter([])(text) == (
        "## Exercises\n\n`````{exercise}\n:label: ex-a\n**One.** Text.\n\n```python\n# no heading\n```\n`````\n\n"
        "`````{exercise}\n:label: ex-b\n**Two.** Text.\n`````\n\n"
        "`````{admonition} Hint\n:class: dropdown mm-hint\n\nThink.\n`````\n\n\n"
        "`````{solution} ex-b\n:class: dropdown\n\nFor two.\n`````\n\n\n## More\n"
    )


def test_a_solution_in_a_later_cell_belongs_to_the_exercise_before_it() -> None:
    convert, fold = Converter([]), "<details>\n<summary>Solution</summary>\n\nSo.\n\n</details>"
    convert("<!-- exercise: ex-a -->\n**Exercise 4.1. One.** Text.")
    assert "{solution} ex-a" in convert(fold)
    with pytest.raises(ValueError, match="expected an exercise before it"):
        convert(fold)


def test_papers_are_named_by_author_and_year() -> None:
    bib = (
        "@misc{a, author={Alain, G and Bengio, Y}, title={T}, year=2016, doi={10.1/x}, eprint={1}}\n"
        "@misc{b, author={Student}, title={T}, year=1908}\n@misc{c, author={de Vries, H}, title={T}, year=2017, eprint={2}}"
    )
    a, b, c = mmlib_papers.read(bib)
    assert a.textual == "[Alain and Bengio (2016)](https://doi.org/10.1/x)"
    assert WANG.parenthetical == "([Wang et al., 2020](https://arxiv.org/abs/1905.12681))"
    assert (b.names, b.address, c.names) == ("Student", "", "de Vries")
    assert mmlib_papers.cited("nobody", (a, b, c)) == []
    with pytest.raises(ValueError, match=r"references\.bib: d: expected an author and a year"):
        mmlib_papers.read("@misc{d, title={T}, year=2000}")


def test_a_chapters_references_are_what_it_cites_in_plain_markdown() -> None:
    assert chapter.with_references("Text.\n\n## References\n\n- old", [WANG]) == (
        "Text.\n\n## References\n\n- A Wang, B Tran, and C Feiszli. T. 2020. [arXiv:1905.12681](https://arxiv.org/abs/1905.12681)."
    )
    assert chapter.with_references("Text.\n\n## References\n\n- old", []) == "Text."
    assert chapter.with_references("", [WANG]).startswith("## References\n\n- ")


def test_every_paper_of_the_book_can_be_cited() -> None:
    assert all(paper.address.startswith("https://") for paper in mmlib_papers.papers())


@pytest.mark.parametrize("text", ["joint 0.740 [0.681, 0.799]", "+5.7 points (3.0 to 8.4)", "gap +0.12 (-0.03 to +0.27)"])
def test_intervals_in_tables_are_found(text: str) -> None:
    assert INTERVAL.search(text)


@pytest.mark.parametrize("text", ["see [Wang et al., 2020]", "5 to 10 epochs", "learning rate 0.1 (Adam)", "weights in (0, 1]"])
def test_what_is_no_interval_is_left_alone(text: str) -> None:
    assert not INTERVAL.search(text)
