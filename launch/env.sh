# Sourced by the scripts beside it: makes .venv in the project's root if it is missing, and installs the
# project with pinned versions. What is already done is skipped.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"

make_venv() {
    local python="${PYTHON:-python3}"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "tdml: $python is older than 3.11: set PYTHON to a newer one" >&2
        exit 1
    }
    # Debian ships venv without its own pip unless python3-venv is installed; then the system's pip serves.
    "$python" -m venv "$venv" >/dev/null 2>&1 || "$python" -m venv --clear --without-pip "$venv"
}

install_project() {
    local stamp="$venv/.installed" wanted
    wanted="$(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum) $root"
    [ -x "$venv/bin/python" ] || make_venv
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        echo "installing into $venv (a few minutes the first time) ..." >&2
        local pip=("$venv/bin/python" -m pip)
        "${pip[@]}" --version >/dev/null 2>&1 || pip=("${PYTHON:-python3}" -m pip --python "$venv/bin/python")
        "${pip[@]}" install -qq --disable-pip-version-check -c "$root/constraints.txt" -e "$root[dev]" || exit 1
        echo "$wanted" >"$stamp"
    fi
}

install_project
