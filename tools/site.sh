#!/bin/sh
# Builds the documents as a site into build/site, with an environment of its own in build/site-env.
set -eu
cd "$(dirname "$0")/.."
environment=build/site-env
[ -x "$environment/bin/mkdocs" ] || {
  python3 -m venv "$environment"
  "$environment/bin/pip" install -q --disable-pip-version-check -r tools/requirements-site.txt
}
# The front page is the README, whose links lead to files beside it.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r docs "$work/docs"
sed 's/](docs\//](/g' README.md >"$work/docs/index.md"
sed "s|^docs_dir:.*|docs_dir: $work/docs|; s|^site_dir:.*|site_dir: $PWD/build/site|" mkdocs.yml >"$work/mkdocs.yml"
"$environment/bin/mkdocs" build -q -f "$work/mkdocs.yml"
echo "the site is in build/site: $(find build/site -name '*.html' | wc -l) pages"
