# SPDX-License-Identifier: MIT
"""What the comparisons share: counting, arguments, and libhone's structures as ctypes."""
import argparse
import ctypes as c
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "tests" / "models"


class Tally:
    """Prints a line for each comparison and counts."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, ok, line):
        ok = bool(ok)
        self.passed, self.failed = self.passed + ok, self.failed + (not ok)
        print(("ok   " if ok else "FAIL ") + line, flush=True)

    def report(self, name, problem):
        """problem: what is wrong, or nothing."""
        self.check(not problem, f"{name}: {problem}" if problem else name)

    def finish(self):
        """Prints the line that run.sh adds up. Returns the exit status; nothing compared is a failure."""
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0


def arguments(description):
    """The options that run.sh gives every script, and where models and texts lie."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--lib", required=True, help="libhone.so")
    parser.add_argument("--hone", required=True, help="the program")
    for name in ("models", "texts"):
        default = os.environ.get(f"HONE_{name.upper()}") or ROOT / ".." / "shared" / name
        parser.add_argument("--" + name, default=pathlib.Path(default), type=pathlib.Path)
    return parser


class Error(c.Structure):
    """hone_error, include/hone/status.h"""
    _fields_ = [("status", c.c_int), ("os_errno", c.c_int), ("offset", c.c_uint64), ("file", c.c_char * 512),
                ("item", c.c_char * 256), ("reason", c.c_char * 384)]

    def __str__(self):
        return f"{self.item.decode(errors='replace')}: {self.reason.decode(errors='replace')} ({self.offset})"


class Tensor(c.Structure):
    """hone_tensor, include/hone/tensor.h"""
    _fields_ = [("name", c.c_char_p), ("dtype", c.c_int), ("n_dims", c.c_uint), ("shape", c.c_uint64 * 8),
                ("nelems", c.c_uint64), ("file", c.c_uint), ("offset", c.c_uint64), ("nbytes", c.c_uint64),
                ("view", c.c_void_p)]


def load_library(path):
    """libhone, with the types of the functions that read checkpoints."""
    lib = c.CDLL(str(path))
    lib.hone_status_name.restype = c.c_char_p
    lib.hone_checkpoint_n_tensors.restype = lib.hone_checkpoint_n_metadata.restype = c.c_size_t
    lib.hone_checkpoint_n_tensors.argtypes = lib.hone_checkpoint_n_metadata.argtypes = [c.c_void_p]
    lib.hone_checkpoint_tensor.restype = lib.hone_checkpoint_find.restype = c.POINTER(Tensor)
    lib.hone_checkpoint_tensor.argtypes = lib.hone_checkpoint_metadata.argtypes = [c.c_void_p, c.c_size_t]
    lib.hone_checkpoint_find.argtypes = [c.c_void_p, c.c_char_p]
    lib.hone_checkpoint_read.argtypes = [c.c_void_p, c.POINTER(Tensor), c.c_uint64, c.c_size_t, c.c_void_p,
                                         c.POINTER(Error)]
    lib.hone_checkpoint_close.argtypes = [c.c_void_p]
    lib.hone_checkpoint_close.restype = None
    return lib


class HoneError(Exception):
    """A call of libhone that failed."""


def call(lib, function, *args):
    """Calls a function of libhone whose last argument is the error."""
    error = Error()
    if function(*args, c.byref(error)) != 0:
        raise HoneError(f"{lib.hone_status_name(error.status).decode()}: {error}")


def get(lib, function, *args):
    """call() of a function whose last argument but one is what it makes."""
    out = c.c_void_p()
    call(lib, function, *args, c.byref(out))
    return out


def open_checkpoint(lib, path):
    return get(lib, lib.hone_checkpoint_open, os.fsencode(path), None)
