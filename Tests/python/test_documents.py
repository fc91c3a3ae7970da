"""Cross-references of the documents lead somewhere."""

import re

import pytest

FILES = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "bindings/python/README.md"]


@pytest.fixture(scope="module")
def documents(root):
    paths = [root / name for name in FILES] + sorted((root / "docs").rglob("*.md"))
    return {path: path.read_text() for path in paths}


def test_decisions_have_their_number_as_title(root):
    for path in (root / "docs" / "adr").glob("*.md"):
        title = path.read_text().splitlines()[0]
        assert title.startswith(f"# {path.name[:4]} "), f"{path.name}: {title}"


def test_numbers_of_decisions_exist(root, documents):
    known = {path.name[:4] for path in (root / "docs" / "adr").glob("*.md")}
    sources = {
        path: path.read_text() for folder in ("Sources", "include", "examples", "bindings", "Benchmarks", "tools")
        for path in (root / folder).rglob("*") if path.suffix in (".swift", ".h", ".c", ".py", ".sh")}
    for path, text in {**documents, **sources}.items():
        for number in re.findall(r"\badr/(\d{4})", text):
            assert number in known, f"{path.relative_to(root)}: adr/{number}"


def test_links_lead_to_files(root, documents):
    for path, text in documents.items():
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.relative_to(root)}: {target}"


def test_names_of_files_exist(root, documents):
    """`Folder/File.swift` in the modules or from the top, docs/x.md, tools/x.sh, and documents beside the one that names
    them."""
    pattern = r"(?<![\w/.~$-])((?:[\w-]+/)*[\w-]+\.(?:swift|md|sh|py|h|c))\b"
    names = {path.name for folder in ("Sources", "Tests", "tools", "Benchmarks", "examples", "bindings", "include")
             for path in (root / folder).rglob("*")}
    for path, text in documents.items():
        if path.name == "CHANGELOG.md":
            continue  # it tells of what was
        for name in re.findall(pattern, re.sub(r"^```\w+$.*?^```$", "", text, flags=re.M | re.S)):
            places = [root / name, root / "Sources" / name, path.parent / name, root / "docs" / name, root / "include" / name]
            assert any(place.exists() for place in places) or "/" not in name and name in names, (
                f"{path.relative_to(root)}: {name}")


def test_targets_that_documents_name_exist(root, documents):
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.M))
    for path, text in documents.items():
        for target in re.findall(r"\bmake ([a-z]+)\b(?=[ `.,;)]|$)", " ".join(re.findall(r"`[^`]*`|^    .*$", text, re.M))):
            assert target in targets, f"{path.relative_to(root)}: make {target}"


def test_tests_that_answer_wishes_exist(root):
    known = set()
    for path in [*(root / "Tests").rglob("*.py"), *(root / "Tests").rglob("*.swift")]:
        known |= set(re.findall(r"(?:def|func) ([A-Za-z0-9_]+)", path.read_text()))
    rows = [line.split("|") for line in (root / "docs" / "asked-for.md").read_text().splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row[1]) for row in rows] == list(range(1, 35))
    for row in rows:
        names = re.findall(r"`(\w+)`", row[5])
        assert row[3].strip() == "no" or names, row[2]
        assert set(names) <= known, f"{row[2]}: {set(names) - known}"
    assert sum(row[3].strip() == "yes" for row in rows) >= 31


@pytest.mark.parametrize("row, file, constant", [
    ("graphs in graphs, functions that call functions", "Sources/CetGraph/Functions.swift", "callDepthLimit = 64"),
    ("nodes that loops and functions unroll into", "Sources/CetOperators/SizeLimits.swift", "nodeLimit = 1 << 18"),
    ("turns of one loop", "Sources/CetOperators/SizeLimits.swift", "turnLimit = 1 << 17"),
    ("messages in messages of the file", "Sources/CetONNX/Wire/WireReader.swift", "maximumDepth = 100"),
    ("values in values of a plan's JSON", "Sources/CetFormats/JSONReader.swift", "maximumDepth = 128"),
    ("header of a session, state or spectrum", "Sources/CetFormats/RecordFile.swift", "longestHeader = 1 << 25"),
    ("arrays in an .npz", "Sources/CetFormats/ZipArchive.swift", "countLimit = 1 << 16"),
    ("threads of a call", "include/cet/cet.h", "CET_MAX_THREADS 1024"),
])
def test_limits_are_those_of_the_sources(root, documents, row, file, constant):
    assert re.search(rf"\b{re.escape(constant)}\b", (root / file).read_text())
    told = re.search(rf"^\| {re.escape(row)} \| ([\d,]+)( MiB)?", documents[root / "docs/limits.md"], re.MULTILINE)
    value = int(told[1].replace(",", "")) << (20 if told[2] else 0)
    first, _, shift = re.search(r"(\d+)( << (\d+))?$", constant).groups()
    assert value == int(first) << int(shift or 0)
