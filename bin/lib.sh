# Shared by bin/test and bin/quickstart: brings a fresh Debian 12 with Node >= 20.19 to the point where portctl builds
# and its laboratories run. Sourced, never run. Installs only what is missing, so a second run touches nothing.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# Network namespaces need root: directly when we are root, through sudo otherwise (sudo's own PATH may lack node).
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo env "PATH=$PATH" "$@"; fi
}

need_root() {
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die 'network namespaces need root: run as root, or install sudo'
}

need_node() {
  command -v node >/dev/null || die 'Node.js 20.19 or newer is needed'
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    die "Node.js 20.19 or newer is needed, this is $(node --version)"
}

# Arguments: COMMAND=PACKAGE... One apt-get for all packages whose command is not there. RUNLEVEL: the services that come
# with some of them are not started (invoke-rc.d(8) takes it for single-user mode).
need_commands() {
  local pair missing=()
  PATH=$PATH:/usr/sbin:/sbin
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || die "missing packages: ${missing[*]}"
  echo "installing: ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# node_modules holds exactly what package-lock.json says: npm's hidden lock file lists what it put there, and only
# packages for other platforms may be absent.
modules_current() {
  (cd "$root" && node -e '
    const packages = file => JSON.parse(require("fs").readFileSync(file, "utf8")).packages
    const wanted = packages("package-lock.json")
    const present = packages("node_modules/.package-lock.json")
    const same = Object.keys(present).every(k => wanted[k]?.version === present[k].version)
    const complete = Object.keys(wanted).every(k => k === "" || k in present || wanted[k].optional)
    process.exit(same && complete ? 0 : 1)') 2>/dev/null
}

need_modules() {
  modules_current || (cd "$root" && npm ci)
}
