#!/usr/bin/env bash
# The tests of the native part with hostile input, under AddressSanitizer and
# UndefinedBehaviorSanitizer, which end the process at the first byte out of place:
#
#     tests/sanitized.sh [PYTHON]
#
# PYTHON has the engine's dependencies, pytest and hypothesis; a C compiler is needed, too.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3} compiler=${CC:-cc}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
build() {
  "$compiler" -shared -fPIC -g -O1 -Wall -Wextra -Werror -ffp-contract=off \
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
    -I"$include" "$2" -o "$folder/$1.abi3.so"
}
build _similarities_dot engine/triangle/dot.c
build _similarities_numbers engine/embeddings/numbers.c
build _similarities_text engine/legacy_json/text.c

# Python itself keeps memory to its end; it is not what is tested.
LD_PRELOAD="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
  "$python" -m pytest --quiet --capture=sys -p no:cacheprovider -o "pythonpath=$folder ." \
  tests/test_pairs.py tests/test_exact.py tests/test_digits.py tests/test_numbers.py
