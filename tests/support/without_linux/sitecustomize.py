"""Removes at the start of each Python process what only Linux has, as on macOS.

For tests that set PYTHONPATH to this folder; Python imports a module of this name at start.
"""

import fcntl
import os
import resource
import select
import signal
import socket
import sys
import sysconfig
from typing import Any

NAMES: dict[Any, str] = {
    os: "RWF_NOWAIT RWF_HIPRI RWF_SYNC RWF_DSYNC RWF_APPEND preadv pwritev O_PATH O_TMPFILE "
    "O_DIRECT O_LARGEFILE O_NOATIME O_RSYNC posix_fadvise posix_fallocate sendfile "
    "copy_file_range splice memfd_create eventfd getrandom pidfd_open "
    "sched_getaffinity sched_setaffinity "
    "sched_setscheduler getresuid getresgid setresuid setresgid unshare setns "
    "getxattr setxattr listxattr removexattr pipe2 fdatasync waitid",
    resource: "prlimit RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_SIGPENDING RLIMIT_MSGQUEUE",
    fcntl: "F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW F_ADD_SEALS F_GET_SEALS F_SETPIPE_SZ F_GETPIPE_SZ "
    "F_SETLEASE F_GETLEASE F_NOTIFY",
    socket: "TCP_USER_TIMEOUT TCP_DEFER_ACCEPT TCP_QUICKACK TCP_CORK SO_PEERCRED SO_BINDTODEVICE "
    "SOCK_CLOEXEC SOCK_NONBLOCK AF_NETLINK AF_VSOCK MSG_CMSG_CLOEXEC MSG_NOSIGNAL",
    signal: "sigwaitinfo sigtimedwait",
    select: "epoll",
}


def _refuse_linux_folders(event: str, arguments: tuple[Any, ...]) -> None:
    if event in {"open", "os.listdir", "os.scandir"}:
        path = arguments[0]
        path = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if path.startswith(("/proc", "/sys")):
            raise FileNotFoundError(2, "No such file or directory", path)


for module, names in NAMES.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
if sys.version_info >= (3, 13):
    os.process_cpu_count = os.cpu_count  # Linux's asks sched_getaffinity
sysconfig.get_config_vars()  # while it finds the file of this platform
sys.addaudithook(_refuse_linux_folders)
sys.platform = "freebsd14"  # "darwin" would have the standard library load modules of macOS
