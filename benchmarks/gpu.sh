#!/usr/bin/env bash
# Everything that needs a GPU, in one command of at most nine minutes: figures.json, table.md and logs in the folder OUT.
#
#   benchmarks/gpu.sh --out OUT [--wheels FOLDER] [options of `gpu.py run`]
#
# With --wheels, what lies in FOLDER is installed beside the packages of the Python that is there (PYTHON, or python3);
# nothing is fetched and nothing of that Python is changed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
wheels="" options=()
while (($#)); do
  case $1 in
    --wheels) wheels=${2:?--wheels needs a folder}; shift 2 ;;
    *) options+=("$1"); shift ;;
  esac
done
export PYTHONUNBUFFERED=1 PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}"
if [[ $wheels ]]; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
    --target "$site" "$wheels"/*.whl
  export PYTHONPATH="$root/src:$site${PYTHONPATH#"$root/src"}"
fi
"$python" "$root/benchmarks/gpu.py" run --spent "$SECONDS" "${options[@]}"
