#!/bin/sh
# A cluster in a mount namespace of its own: its root is an overlay over this machine's, in which the programs of the
# suite's images lie at their places (/agnhost, /localhost.crt, ...); the machine's own files stay as they are.
# Usage: unshare --mount root.sh KEPT PYBERNETES NAME ARGUMENT...   (KEPT is .upstream, seen in both worlds)
# Says "ready" when the cluster is up, "failed" when it is not; takes it down when its standard input ends, whatever
# ended that.
set -eu
kept=$1 pybernetes=$2 name=$3
shift 3
trap : INT TERM HUP # the end of standard input is the one way out; children have these signals as usual
export PYBERNETES_STATE_ROOT="$kept/cluster/state" PYBERNETES_RUN_ROOT="$kept/cluster/run"
export PYBERNETES_LOG_ROOT="$kept/cluster/log"

work="$kept/mnt"
mkdir -p "$work"
mount -t tmpfs -o mode=0755 upstream "$work"
mkdir -m 755 "$work/work" "$work/root"
cp -a "$kept/root" "$work/upper" # not a layer: layers may not lie within each other
mount -t overlay upstream -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root"
root_id=$(awk '$5 == "/" { id = $1 } END { print id }' /proc/self/mountinfo)
for point in /dev /proc /sys; do mount --rbind "$point" "$work/root$point"; done
mount --bind /run "$work/root/run"
# File systems of their own (/home, /usr); nothing that a cluster has mounted, for it would be held here.
awk -v id="$root_id" '{ sub(/ - /, " \n "); split($0, half, "\n"); split(half[2], right, " ") }
    $2 == id && right[1] !~ /^(nsfs|overlay|tmpfs|proc|sysfs|devtmpfs)$/ { print $5 }' /proc/self/mountinfo |
    while read -r point; do
        [ ! -d "$point" ] || mount --bind "$point" "$work/root$point"
    done
mkdir -p "$work/root$kept"
mount --bind "$kept" "$work/root$kept"
cd "$work/root"
pivot_root . .
umount -l .
cd /

"$pybernetes" down --name "$name" >/dev/null 2>&1 || true # what a lost power left
"$pybernetes" up --name "$name" "$@" </dev/null >&2 && echo ready || echo failed
cat >/dev/null
"$pybernetes" down --name "$name" </dev/null >&2
