#!/usr/bin/env bash
# Generates the C file of the shipped bundle, builds it for every target, runs the golden cells
# everywhere and holds flash, RAM and instructions to the budget. What cannot be installed here is
# skipped with its reason; nothing else is. The last line says how long it took once the tools were
# there (half a minute of an idle core; nothing fails by it).
#
#   bash firmware_examples/check.sh [BUNDLE]
#
# Without BUNDLE: the shipped default, and on the bare targets the shipped micro network too.
# PYTHON: the environment with edge-malaria (default .venv/bin/python).
# FIRMWARE_TOOLS=no: install nothing. FIRMWARE_UPDATE=yes: record a new budget.
# FIRMWARE_PIP_ONLY=yes: also the path without apt (ziglang and unicorn; minutes at first).
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
BUNDLE=${1:-edge_malaria/models/default}
MICRO=edge_malaria/models/micro
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
STRICT=(-std=c99 -Wall -Wextra -Wconversion -pedantic -Werror)
FAILED=0

say() { printf '\n== %s\n' "$*"; }
fail() { echo "FAILED: $*" >&2; FAILED=1; }
skip() { echo "skipped: $*"; }

install_tools() {
  local wanted=(gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
                gcc-riscv64-unknown-elf qemu-system-misc clang)
  local missing=() package
  for package in "${wanted[@]}"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "${FIRMWARE_TOOLS:-yes}" != yes ] || ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]
  then
    skip "installing ${missing[*]}: needs root and apt-get (FIRMWARE_TOOLS=${FIRMWARE_TOOLS:-yes})"
    return 0
  fi
  echo "installing ${missing[*]}"
  { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } \
    >"$WORK/apt.log" 2>&1 || { tail -3 "$WORK/apt.log"; skip "apt-get could not install them"; }
}

# A virtual environment of its own: tflite-micro must not move the project's numpy.
TFLM=.venv/tflm
install_oracle() {
  [ ! -x $TFLM/bin/python ] && [ "${FIRMWARE_TOOLS:-yes}" = yes ] || return 0
  echo "installing tflite-micro"
  { "$PYTHON" -m venv $TFLM && $TFLM/bin/pip install --quiet --pre tflite-micro; } \
    >"$WORK/pip.log" 2>&1 || { tail -1 "$WORK/pip.log"; rm -rf $TFLM; }
}

check_host() {
  local compiler level
  for compiler in gcc clang; do
    command -v $compiler >/dev/null || { skip "$compiler is not installed"; continue; }
    for level in -O0 -O2 -O3; do
      for rounding in 0 1 2; do
        host_golden "$compiler" $rounding $level
      done
    done
  done
  command -v gcc >/dev/null && for rounding in 0 1 2; do
    host_golden gcc $rounding -O1 -fsanitize=address,undefined -fno-sanitize-recover
  done
  command -v gcc >/dev/null || { skip "the examples on this machine: no gcc"; return 0; }
  local sanitized="-O1 -fsanitize=address,undefined -fno-sanitize-recover"
  make -s -C firmware_examples/c_host GENERATED="$WORK/c" BUILD="$WORK/host" CC=gcc \
    CFLAGS="$sanitized" || fail "c_host does not build"
  gcc "${STRICT[@]}" $sanitized -I "$WORK/c" -I firmware_examples/common \
    firmware_examples/camera/*.c firmware_examples/common/{area,cell}_resize.c \
    "$WORK/c/edge_malaria_model.c" -o "$WORK/camera" && "$WORK/camera" || fail "the camera example"
  "$PYTHON" firmware_examples/c_host/check.py "$WORK/host/classify_cell" "$BUNDLE" ||
    fail "c_host answers otherwise than Python"
}

host_golden() {
  local compiler=$1 rounding=$2
  shift 2
  : >"$WORK/said"
  "$compiler" "${STRICT[@]}" "$@" -DEDGE_MALARIA_ROUNDING=$rounding \
    -DEDGE_MALARIA_SELFTEST_MAIN -I "$WORK/c" "$WORK"/c/edge_malaria_{model,selftest}.c \
    -o "$WORK/golden" && "$WORK/golden" >"$WORK/said" ||
    { cat "$WORK/said"; fail "$compiler $* rounding $rounding"; return; }
  echo "ok: $compiler $* $(cat "$WORK/said")"
}

# bare_targets GENERATED NAME: every target with the reference rounding, against NAME's budget.
bare_targets() {
  local budget=(--budget "firmware_examples/budget/$2.json") status=0
  if [ "${FIRMWARE_UPDATE:-no}" = yes ]; then
    budget+=(--update)
  elif [ ! -f "${budget[1]}" ]; then
    echo "no budget is recorded for $2: sizes and instructions are shown, not judged"
    budget=()
  fi
  "$PYTHON" firmware_examples/targets.py "$1" "${budget[@]}" || status=$?
  case $status in
    0) ;;
    3) skip "no cross compiler or qemu is installed" ;;
    *) fail "a bare target with $2" ;;
  esac
}

check_targets() {
  local status=0
  bare_targets "$WORK/c" "$(basename "${BUNDLE%.zip}")"
  if [ $# -eq 0 ] && [ -d $MICRO ]; then
    "$PYTHON" -m edge_malaria.cli.app firmware $MICRO -o "$WORK/micro" --json >/dev/null &&
      bare_targets "$WORK/micro" micro || fail "the micro network"
  fi
  "$PYTHON" firmware_examples/targets.py "$WORK/c" --rounding 1 >"$WORK/xnnpack.txt" || status=$?
  case $status in 0 | 3) echo "ok: the same targets with XNNPACK's rounding" ;; *)
    cat "$WORK/xnnpack.txt"; fail "a bare target with XNNPACK's rounding" ;;
  esac
}

check_pip_only() {
  local venv=.venv/zig
  [ "${FIRMWARE_PIP_ONLY:-no}" = yes ] || { skip "FIRMWARE_PIP_ONLY=yes runs it"; return 0; }
  if [ ! -x $venv/bin/python ]; then
    { "$PYTHON" -m venv $venv &&
      $venv/bin/pip install --quiet -r firmware_examples/pip_only/requirements.txt; } \
      >"$WORK/pip.log" 2>&1 ||
      { tail -1 "$WORK/pip.log"; rm -rf $venv; skip "pip could not install them"; return 0; }
  fi
  $venv/bin/python firmware_examples/pip_only/run.py "$WORK/c" || fail "the path without apt"
}

check_oracle() {
  if $TFLM/bin/python -c 'import tflite_micro' 2>/dev/null; then
    "$PYTHON" -m benchmarks.firmware.exactness --bundle "$BUNDLE" --quick \
      --tflm "$PWD/$TFLM/bin/python" ||
      fail "TensorFlow Lite Micro answers otherwise"
  else
    skip "TensorFlow Lite Micro (PyPI tflite-micro) is not installed: no oracle"
  fi
}

say tools
install_tools
install_oracle
READY=$SECONDS
say generate
"$PYTHON" -m edge_malaria.cli.app firmware "$BUNDLE" -o "$WORK/c" | tail -n 14
say "this machine"
check_host
say "bare targets"
check_targets "$@"
say "without apt"
check_pip_only
say "TensorFlow Lite Micro"
check_oracle
[ $FAILED -eq 0 ] || { say "firmware: FAILED"; exit 1; }
say "firmware: all that could run passed in $((SECONDS - READY)) s"
