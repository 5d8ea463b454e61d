# Shared by the set-up scripts; sourced by bash.

say() { printf '== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Print the Debian packages among the arguments that are not installed.
missing_packages() {
    local name
    for name; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        fail "root rights are needed for: $*  (run as root, or install sudo)"
    fi
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" </dev/null; }

known_to_apt() { apt-cache show --no-all-versions "$@" >/dev/null 2>&1; }

# Install packages without letting them start services: the tests start their own servers on their own ports.
install_packages() {
    local missing policy=/usr/sbin/policy-rc.d log
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "these Debian packages are needed and there is no apt-get here: ${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        fail "installing needs root; as root run: apt-get install --no-install-recommends ${missing[*]}"
    log=$(mktemp)
    if [ ! -e "$policy" ]; then
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    install_or_update "$log" "${missing[@]}" || { cat "$log" >&2; fail "apt-get could not install: ${missing[*]}"; }
    rm -f "$log"
    disable_services "${missing[@]}"
}

# The package lists are refreshed only when they are absent or too old to serve.
install_or_update() {
    local log=$1; shift
    if known_to_apt "$@" && apt install -y --no-install-recommends "$@" >"$log" 2>&1; then return 0; fi
    say "refreshing Debian package lists"
    apt update >>"$log" 2>&1 && apt install -y --no-install-recommends "$@" >>"$log" 2>&1
}

disable_services() {
    local name
    [ -d /run/systemd/system ] || return 0
    for name; do
        case $name in
            postgresql*) as_root systemctl disable --now --quiet postgresql || true ;;
            nginx*) as_root systemctl disable --now --quiet nginx || true ;;
            rabbitmq*) as_root systemctl disable --now --quiet rabbitmq-server || true ;;
        esac
    done
}
