#!/bin/sh
# First process of a machine with a kernel of its own, which serves NFS or mounts it.
# The kernel's command line gives ROLE (serve or use), NAME, ADDRESS, SERVER, MODULES and WORK.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs none /sys
mount -t tmpfs none /run
mount -t tmpfs none /mnt
mkdir /mnt/nfs /mnt/shared
mount -t hostfs none /mnt/shared -o "$WORK"
exec > "/mnt/shared/$NAME.log" 2>&1
hostname "$NAME"
ip link set lo up
ip addr add "$ADDRESS/24" dev eth0
ip link set eth0 up

insert() { # modules in the order in which they need each other
    /usr/bin/python3 -I -c '
import ctypes, os, sys
folder, *wanted = sys.argv[1:]
needs = dict(line.rstrip().split(":") for line in open(f"{folder}/modules.dep"))
order = [name for one in wanted for name in (*reversed(needs[one].split()), one)]
kernel = ctypes.CDLL(None, use_errno=True)
for name in dict.fromkeys(order):
    with open(f"{folder}/{name}") as module:
        if kernel.syscall(313, module.fileno(), b"", 0):  # finit_module
            sys.exit(f"{name}: {os.strerror(ctypes.get_errno())}")
' "$MODULES" "$@"
}

serve() {
    insert kernel/fs/nfsd/nfsd.ko || return
    mount -t ext4 /dev/ubda /mnt/nfs
    mount -t nfsd nfsd /proc/fs/nfsd
    echo 10 > /proc/fs/nfsd/nfsv4leasetime # seconds, the least there is
    echo 10 > /proc/fs/nfsd/nfsv4gracetime
    # What rpc.mountd would answer: who may mount (all of this network), and what lies behind the root.
    for host in 2 3 4 5; do
        echo "nfsd ${ADDRESS%.*}.$host 2147483647 guests" > /proc/net/rpc/auth.unix.ip/channel
    done
    flags=$((0x2000 | 0x0400 | 0x0002)) # fsid=0, no_subtree_check, insecure; neither root_squash nor async
    echo "guests /mnt/nfs 2147483647 $flags 65534 65534 0" > /proc/net/rpc/nfsd.export/channel
    echo 'guests 1 \x00000000 2147483647 /mnt/nfs' > /proc/net/rpc/nfsd.fh/channel
    echo "-3 +4 +4.1 +4.2" > /proc/fs/nfsd/versions
    echo "tcp 2049" > /proc/fs/nfsd/portlist
    echo 4 > /proc/fs/nfsd/threads
    touch "/mnt/shared/$NAME.up"
    exec sleep 100000
}

use() {
    insert kernel/fs/nfs/nfsv4.ko || return
    options="vers=4.2,addr=$SERVER,clientaddr=$ADDRESS"
    for seconds in 1 1 1 1 1; do
        mount -i -t nfs -o "$options" "$SERVER:/" /mnt/nfs && break
        sleep $seconds
    done
    sh "/mnt/shared/$NAME.sh"
    code=$?
    cp -r /mnt/nfs "/mnt/shared/$NAME.seen" && echo $code > "/mnt/shared/$NAME.rc"
}

"$ROLE"
echo o > /proc/sysrq-trigger # switches the machine off
sleep 100
