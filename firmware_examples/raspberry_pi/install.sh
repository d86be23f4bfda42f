#!/usr/bin/env bash
# Installs edge-malaria as a service on a Raspberry Pi (64-bit OS, Python 3.11 or newer).
#
#   sudo bash install.sh [--wheelhouse DIR | --wheel FILE] [--prefix DIR] [--dry-run] [--no-service]
#   sudo bash install.sh --uninstall [--prefix DIR] [--purge] [--dry-run]
#
# --wheelhouse DIR  offline: DIR holds the wheels of edge-malaria, of what it needs and of pip
#                   (make one elsewhere with: bash wheelhouse.sh DIR)
# --wheel FILE      this edge-malaria wheel, the rest from the package index; without it the
#                   checkout that this script lies in
# --dry-run         print every step, do nothing
# --purge           with --uninstall: also remove /var/lib/edge-malaria (pictures and results)
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PREFIX=/opt/edge-malaria
STATE=${EDGE_MALARIA_STATE:-/var/lib/edge-malaria}
UNIT=${EDGE_MALARIA_UNITS:-/etc/systemd/system}/edge-malaria.service
PYTHON=${PYTHON:-python3}
CHECKOUT=$(cd "$HERE/../.." && pwd)
WHEELHOUSE= WHEEL= DRY=no SERVICE=yes REMOVE=no PURGE=no

die() { echo "error: $1" >&2; exit "${2:-2}"; }
need_value() { [ $# -ge 2 ] && [ -n "$2" ] || die "$1 needs a value."; }
do_it() { if [ $DRY = yes ]; then printf 'would run:'; printf ' %q' "$@"; echo; else "$@"; fi; }

while [ $# -gt 0 ]; do
  case $1 in
    --wheelhouse) need_value "$@"; WHEELHOUSE=$2; shift ;;
    --wheel) need_value "$@"; WHEEL=$2; shift ;;
    --prefix) need_value "$@"; PREFIX=$2; shift ;;
    --dry-run) DRY=yes ;;
    --no-service) SERVICE=no ;;
    --uninstall) REMOVE=yes ;;
    --purge) PURGE=yes ;;
    -h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown option $1; see --help." ;;
  esac
  shift
done
case $PREFIX in /?*) ;; *) die "--prefix must be an absolute directory, got '$PREFIX'." ;; esac
[ $DRY = yes ] || [ "$(id -u)" = 0 ] || die "run it with sudo (or try --dry-run)." 3
running_systemd() { [ $SERVICE = yes ] && [ -d /run/systemd/system ]; }

uninstall() {
  if running_systemd; then do_it systemctl disable --now edge-malaria.service || true; fi
  do_it rm -f "$UNIT"
  if running_systemd; then do_it systemctl daemon-reload; fi
  # Only what the installer put there: a prefix that holds other things stays.
  do_it rm -rf "$PREFIX/venv" "$PREFIX/watch_cells.py"
  if [ -d "$PREFIX" ]; then do_it rmdir --ignore-fail-on-non-empty "$PREFIX"; fi
  if [ $PURGE = yes ]; then do_it rm -rf "$STATE"; else echo "kept $STATE (--purge removes it)"; fi
  echo "edge-malaria is removed."
}

check_machine() {
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    die "needs Python 3.11 or newer, got $("$PYTHON" -V 2>&1). Use Raspberry Pi OS 12 or newer." 3
  case $(uname -m) in
    aarch64 | x86_64) ;;
    *) die "needs a 64-bit system (aarch64), got $(uname -m). For 32 bit see README." 3 ;;
  esac
  if [ -n "$WHEELHOUSE" ]; then
    ls "$WHEELHOUSE"/edge_malaria-*.whl "$WHEELHOUSE"/pip-*.whl >/dev/null 2>&1 ||
      die "$WHEELHOUSE has no edge_malaria-*.whl and pip-*.whl. Make one with wheelhouse.sh." 5
  elif [ -n "$WHEEL" ]; then
    [ -f "$WHEEL" ] || die "$WHEEL does not exist." 5
  elif [ ! -f "$CHECKOUT/pyproject.toml" ]; then
    die "edge-malaria is on no index yet: give its wheel with --wheel FILE (make wheel writes one)."
  fi
}

install_python() {
  # Without pip: Debian keeps that part of venv in another package, which may be missing offline.
  if [ -n "$WHEELHOUSE" ]; then
    local pip
    pip=$(basename "$(ls "$WHEELHOUSE"/pip-*.whl | tail -n 1)")
    do_it "$PYTHON" -m venv --without-pip "$PREFIX/venv"
    # From inside the folder: PIP_FIND_LINKS cannot hold a path with spaces.
    do_it env -C "$WHEELHOUSE" PIP_NO_INDEX=1 PIP_FIND_LINKS=. "$PREFIX/venv/bin/python" "$pip/pip" \
      install --disable-pip-version-check --quiet 'edge-malaria[litert]'
  else
    do_it "$PYTHON" -m venv "$PREFIX/venv"
    do_it "$PREFIX/venv/bin/python" -m pip install --disable-pip-version-check --quiet \
      "${WHEEL:-$CHECKOUT}[litert]"
  fi
}

install_service() {
  if ! id edge-malaria >/dev/null 2>&1; then
    do_it useradd --system --no-create-home --home-dir "$STATE" --shell /usr/sbin/nologin \
      edge-malaria
  fi
  if [ $DRY = yes ]; then
    echo "would write: $UNIT"
  else
    mkdir -p "$(dirname "$UNIT")"
    sed "s|@PREFIX@|$PREFIX|g" "$HERE/edge-malaria.service" >"$UNIT"
  fi
  if running_systemd; then
    do_it systemctl daemon-reload
    do_it systemctl enable --now edge-malaria.service
  else
    echo "systemd is not running here: start it later with: systemctl enable --now edge-malaria"
  fi
}

if [ $REMOVE = yes ]; then uninstall; exit 0; fi
check_machine
do_it mkdir -p "$PREFIX" "$STATE/incoming"
install_python
do_it install -m 644 "$HERE/watch_cells.py" "$PREFIX/watch_cells.py"
do_it "$PREFIX/venv/bin/edge-malaria" selftest
if [ $SERVICE = yes ]; then install_service; fi
if [ $DRY = yes ]; then echo "nothing was done."; else
  echo "Installed. Put pictures of single cells into $STATE/incoming; answers: $STATE/results.csv"
fi
echo "For research use only. Not for use in diagnostic procedures."
