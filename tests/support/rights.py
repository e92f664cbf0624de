"""Reading and writing as an ordinary user, in containers where tests run as root."""

import ctypes
import os
from contextlib import contextmanager

CAPGET, CAPSET = {"x86_64": (125, 126), "aarch64": (90, 91)}.get(os.uname().machine, (None, None))
VERSION_3 = 0x20080522
#: CAP_CHOWN, CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
FILE_RIGHTS = 0b111


@contextmanager
def ordinary_rights():
    """Gives up root's right to read and write every file; this thread has it again after the block."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    head, rights = (ctypes.c_uint32 * 2)(VERSION_3, 0), (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable
    assert libc.syscall(CAPGET, head, rights) == 0
    before = rights[0]
    rights[0] &= ~FILE_RIGHTS
    assert libc.syscall(CAPSET, head, rights) == 0
    try:
        yield
    finally:
        rights[0] = before
        assert libc.syscall(CAPSET, head, rights) == 0
