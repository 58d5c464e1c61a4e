# Sourced by slipway, demo.sh, test.sh and bench/run.sh: checks what the machine has, fetches packages, builds.
# Sets $program. Does nothing when the built program is newer than every source.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=$root/artifacts/bin/Slipway.Cli/release/slipway
stamp=$root/artifacts/.built

say() { printf '%s\n' "$*" >&2; }

require_tools() {
  local missing=0 version
  version=$(dotnet --version 2>/dev/null || true)
  if [ -z "$version" ] || [ "${version%%.*}" -lt 10 ]; then
    say "Slipway needs the .NET SDK 10 (found: ${version:-none}). Get it from https://dotnet.microsoft.com/download/dotnet/10.0 or your package manager (dotnet-sdk-10.0)."
    missing=1
  fi
  version=$(node --version 2>/dev/null || true); version=${version#v}
  if [ -z "$version" ] || [ "${version%%.*}" -lt 18 ] || ! command -v npm >/dev/null; then
    say "Slipway needs Node.js 18 or newer with npm (found: ${version:-none}): its package registry brings ONNX Runtime, DuckDB and the example data. Get it from https://nodejs.org or your package manager (nodejs npm)."
    missing=1
  fi
  [ $missing = 0 ] || exit 1
}

sources_changed() {
  [ ! -x "$program" ] || [ ! -e "$stamp" ] ||
    [ -n "$(find "$root/src" "$root/native/package-lock.json" "$root"/Directory.*.props -newer "$stamp" \( -type f -o -type d \) -print -quit)" ]
}

# fetch FOLDER WHAT: the npm packages of the folder's lock file.
fetch() {
  [ "$root/$1/node_modules/.package-lock.json" -nt "$root/$1/package-lock.json" ] && return 0
  say "Fetching $2 (npm)…"
  # No install scripts: the shared libraries are inside the packages.
  (cd "$root/$1" && npm ci --fetch-retries=5 --ignore-scripts --no-audit --no-fund --loglevel=error >&2) || { say "npm could not fetch the packages; see its message above, then run this again."; exit 1; }
  touch "$root/$1/node_modules/.package-lock.json"
}

# build [PROJECT]: the command line by default.
build() {
  require_tools
  fetch native "native libraries and example data"
  say "Building Slipway (Release)…"
  mkdir -p "$root/artifacts"
  local started; started=$(mktemp -p "$root/artifacts")
  local log=$root/artifacts/build.log
  # Without the lock of ensure_built: the compiler's server outlives the build, and would keep it.
  if ! (cd "$root" && dotnet build "${1:-src/Slipway.Cli}" -c Release -v q --nologo >"$log" 2>&1 8>&-); then
    grep -E 'error|warning' "$log" | sort -u | head -20 >&2 || tail -20 "$log" >&2
    say "The build failed; the whole log is artifacts/build.log."
    rm -f "$started"; exit 1
  fi
  # A file changed while the build ran is newer than the stamp and leads to another build next time.
  mv "$started" "$stamp"
}

ensure_built() {
  sources_changed || return 0
  mkdir -p "$root/artifacts"
  if command -v flock >/dev/null; then
    # Two starts at once: one builds, the other waits and finds it done.
    exec 8>"$root/artifacts/.lock"; flock 8
    ! sources_changed || build
    exec 8>&-
  else
    build
  fi
}
