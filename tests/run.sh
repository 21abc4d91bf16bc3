#!/usr/bin/env bash
# `make test`: runs every test in Python and Rust. The Python tests wait for most of their time, so the Rust tests are
# compiled meanwhile, and run afterwards. Usage: tests/run.sh PYTHON
set -uo pipefail

rust=(cargo test)
if cargo nextest --version >/dev/null 2>&1; then
	rust=(cargo nextest run --status-level slow)
fi
rust+=(--locked --workspace --no-default-features)

# Prints nothing: errors of the compiler appear when the tests are run.
nice "${rust[@]}" --no-run >/dev/null 2>&1 &
trap "kill $! 2>/dev/null" EXIT
trap 'exit 130' INT

failed=()
"$1" -m pytest --numprocesses 3 --dist worksteal || failed+=(Python)
wait
"${rust[@]}" || failed+=(Rust)
if [ ${#failed[@]} -gt 0 ]; then
	echo "tests/run.sh: FAILED, the tests in ${failed[*]}" >&2
	exit 1
fi
