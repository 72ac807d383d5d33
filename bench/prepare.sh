#!/usr/bin/env bash
# Install what `make bench` measures against and is missing: Debian packages, and one npm package.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

packages=()
for package in iipimage-server nginx-light wrk libvips-tools libjpeg-turbo-progs; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || packages+=("$package")
done
if ((${#packages[@]})); then
    echo "Installing ${packages[*]}"
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then # the packages must not start services: the benchmark starts its own
        trap '$as_root rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
        $as_root chmod 755 $policy
    fi
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

command -v node >/dev/null || { echo "node 20 or later is needed for iiif-processor" >&2; exit 1; }
if [ ! -d "$here/peers/processor/node_modules/iiif-processor" ]; then
    (cd "$here/peers/processor" && npm ci --silent --no-audit --no-fund)
fi
