"""A hook of mkdocs: the front page of the site is the README, whose links lead to the pages beside it."""

import pathlib

from mkdocs.structure.files import File


def on_files(files, config):
    readme = (pathlib.Path(config.config_file_path).parent / "README.md").read_text()
    files.append(File.generated(config, "index.md", content=readme.replace("](docs/", "](")))
    return files
