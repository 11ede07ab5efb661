#!/usr/bin/env bash
# Makes .venv of exactly the locked versions; `make` calls it when the lock is newer than .venv/ready.
#   infra/setup.sh machine MEMORY_GIB DISK_GIB   says in a line what this machine lacks
#   infra/setup.sh install                       checks the machine, then installs; run again it goes on
# PYTHON=/path/to/python3.12 chooses the Python, TORCH_INDEX=URL another index for torch alone (a CPU or CUDA build).
set -uo pipefail

PROC=${PROC:-/proc}
VENV=.venv
LOG=$VENV/setup.log
LOCK=requirements.lock

fail() {
  [ -t 1 ] && printf '\r\033[K'
  echo "setup: $*" >&2
  exit 1
}

# --- The machine

check_processor() {
  case "$(uname -m)" in x86_64 | amd64) ;; *) return ;; esac
  [ ! -r "$PROC/cpuinfo" ] || grep -qw avx2 "$PROC/cpuinfo" ||
    fail "this processor has no AVX2 units, which the packages here are compiled for; use a machine made after 2015"
}

# The host's memory or the container's limit, whichever is less, in MiB.
memory_mib() {
  local total limit
  total=$(awk '/^MemTotal:/ {print int($2 / 1024)}' "$PROC/meminfo")
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
  [ "$limit" != max ] && [ $((limit >> 20)) -lt "$total" ] && total=$((limit >> 20))
  echo "$total"
}

gib() { awk -v mib="$1" 'BEGIN {printf "%.1f", mib / 1024}'; }

check_room() {
  local memory disk lacks=()
  if [ -r "$PROC/meminfo" ]; then
    memory=$(memory_mib)
    # A machine sold with n GiB shows some per cent less.
    [ "$memory" -lt $(($1 * 1024 * 93 / 100)) ] && lacks+=("$1 GiB of memory, and this machine has $(gib "$memory")")
  fi
  disk=$(df -Pm . | awk 'NR == 2 {print $4}')
  [ -f $VENV/ready ] || [ "$disk" -ge $(($2 * 1024)) ] ||
    lacks+=("$2 GiB of free disk, and $(pwd) has $(gib "$disk")")
  [ ${#lacks[@]} -eq 0 ] || fail "this takes $(printf '%s; ' "${lacks[@]}")ANYWAY=1 tries it all the same"
}

fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

find_python() {
  local name
  for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    "$name" -c "$fits" 2>/dev/null && echo "$name" && return
  done
  return 1
}

# --- The packages

started=$(date +%s)
said=$started

# A line that is redrawn on a terminal; in a log, one every ten seconds.
tell() {
  local now
  now=$(date +%s)
  if [ -t 1 ]; then
    printf '\r\033[Ksetup: %s, %s s' "$*" $((now - started))
  elif [ $((now - said)) -ge 10 ]; then
    said=$now
    echo "setup: $*, $((now - started)) s"
  fi
}

# Follow pip's own lines: how many packages it has looked at, which it downloads, that it unpacks them.
follow() {
  local line='' collected=0 what=$1 total=$2 status
  while :; do
    if IFS= read -r -t 1 line; then
      echo "$line" >>$LOG
      case $line in
        Collecting* | "Requirement already"*) collected=$((collected + 1)) ;;
        *Downloading*) what="$1: downloading ${line##* Downloading }" ;;
        "Installing collected"*) what="$1: unpacking" collected=$total ;;
      esac
    else
      status=$?
      [ $status -gt 128 ] || break
    fi
    tell "$what ($((collected < total ? collected : total)) of $total packages)"
  done
}

# What pip's log says, as one line that a person can act on.
explain() {
  local package
  if grep -qE 'No space left on device|Disk quota exceeded|File too large|Errno (28|122|27)\b' $LOG; then
    fail "the disk is full ($(pwd), ${TMPDIR:-/tmp} or pip's cache); free 5 GiB, then make again: it goes on"
  elif grep -qE 'NewConnectionError|Failed to establish|Name or service not known|name resolution|[Tt]imed out|Connection (reset|refused|aborted)|ProxyError|SSLError|HTTP error|[0-9]{3} (Server|Client) Error' $LOG; then
    fail "the package index can't be reached; check the network, proxy or PIP_INDEX_URL, then make again: it goes on"
  elif package=$(grep -oE 'No matching distribution found for [^ ]+' $LOG); then
    fail "the package index has no ${package##* } for $(uname -s) $(uname -m) and $($VENV/bin/python -V); use Linux on x86_64 or aarch64 with Python 3.11 to 3.13"
  fi
  fail "pip failed: $(grep -m1 '^ERROR' $LOG | cut -c1-200) (all of it: $LOG), then make again: it goes on"
}

pip_install() {
  local what=$1 total=$2
  shift 2
  : >$LOG
  $VENV/bin/python -m pip --disable-pip-version-check install --progress-bar off "$@" 2>&1 | follow "$what" "$total"
  [ "${PIPESTATUS[0]}" -eq 0 ] || explain
}

# A full disk or a kill leaves packages whose record names files that aren't there, and pip takes them for installed.
drop_halves() {
  local folder
  for folder in "$PWD/$VENV"/lib/python*/site-packages/*.dist-info; do
    (cd "$folder/.." && cut -d, -f1 "$folder/RECORD" | grep -v '\.pyc$' | tr '\n' '\0' | xargs -0 ls -d) >/dev/null 2>&1 ||
      rm -rf "$folder"
  done
}

install() {
  local python torch packages
  check_processor
  python=$(find_python) || fail "Python 3.11, 3.12 or 3.13 is needed; set PYTHON=/path/to/python3.12"
  echo "setup: an environment in $VENV with $($python -V), once; the next time it is there"
  [ -x $VENV/bin/python ] || "$python" -m venv $VENV || fail "python -m venv failed; Debian has it in python3-venv"
  [ ! -f $VENV/unfinished ] || drop_halves
  touch $VENV/unfinished
  torch=$(grep -E '^torch==' $LOCK)
  packages=$(grep -cE '^[A-Za-z]' $LOCK)
  # Torch with what this index's build of it asks for (the CUDA build: its libraries and triton). All others by the
  # lock alone: packages that carry weights name requirements that only their own code needs.
  grep -v '^torch==' $LOCK >$VENV/constraints.txt
  pip_install "1/4 $torch" 8 ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --no-compile \
    --constraint $VENV/constraints.txt "$torch"
  # rapidocr-onnxruntime wants a Python below 3.13 for its code; its weights, which alone are read, do not.
  pip_install "2/4 what the lock names" "$packages" --no-compile --no-deps --ignore-requires-python --requirement $LOCK
  # pip would compile on one core; not to compile costs every process seconds where Python may write no bytecode.
  tell "3/4 compiling"
  $VENV/bin/python -m compileall -qq -j 0 $VENV/lib >/dev/null || true
  pip_install "4/4 this project" 1 --no-deps --no-build-isolation --editable .
  drawing
  touch $VENV/ready
  rm $VENV/unfinished
  [ -t 1 ] && printf '\r\033[K'
  echo "setup: done in $(($(date +%s) - started)) s"
}

# opencv-python draws windows and so wants libGL; a machine without it gets the same release without windows.
drawing() {
  local opencv
  opencv=$(grep -E '^opencv-python==' $LOCK) || return 0
  $VENV/bin/python -c 'import cv2' 2>/dev/null ||
    pip_install "4/4 OpenCV without windows" 1 --no-deps --force-reinstall "${opencv/python/python-headless}"
}

cd "$(dirname "$0")/.." || exit 1
case ${1:-} in
  machine) [ -n "${ANYWAY:-}" ] || {
    check_processor
    check_room "$2" "$3"
  } ;;
  install) install ;;
  *) fail "say machine or install" ;;
esac
