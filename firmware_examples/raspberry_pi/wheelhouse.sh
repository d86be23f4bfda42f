#!/usr/bin/env bash
# Collects, on any machine with internet, the wheels that install.sh needs on a Pi without it.
#
#   bash wheelhouse.sh DIR [PYTHON_VERSION]      (default 3.11: Raspberry Pi OS 12; 3.13: OS 13)
#
# Run it from a checkout (it builds the edge-malaria wheel) with any Python that has pip.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: bash wheelhouse.sh DIR [PYTHON_VERSION]" >&2; exit 2; }
DIR=$1 VERSION=${2:-3.11} PYTHON=${PYTHON:-python3}
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$DIR"
"$PYTHON" -m pip wheel --quiet --no-deps --wheel-dir "$DIR" "$ROOT"
WHEEL=$(ls "$DIR"/edge_malaria-*.whl | tail -n 1)
"$PYTHON" -m pip download --quiet --dest "$DIR" --only-binary=:all: --implementation cp \
  --python-version "$VERSION" --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
  --platform manylinux2014_aarch64 "$WHEEL[litert]" pip
echo "$DIR: $(ls "$DIR" | wc -l) wheels, $(du -sh "$DIR" | cut -f1). Copy it to the Pi and run:"
printf "  sudo bash install.sh --wheelhouse %q\n" "$(basename "$DIR")"
