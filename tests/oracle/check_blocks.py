# SPDX-License-Identifier: MIT
"""Compare hone's block encoders and decoders with ggml's, byte for byte.

The reference is libggml-base as shipped by the llama_cpp package (pip install llama-cpp-python).
"""
import ctypes
import glob
import os
import sys
import zlib

import numpy as np

import common

# hone's name: ggml type id, elements and bytes per block, name in dequantize_row_*
TYPES = {
    "f32": (0, 1, 4, None),
    "f16": (1, 1, 2, None),
    "bf16": (30, 1, 2, None),
    "q4_0": (2, 32, 18, "q4_0"),
    "q4_1": (3, 32, 20, "q4_1"),
    "q5_0": (6, 32, 22, "q5_0"),
    "q5_1": (7, 32, 24, "q5_1"),
    "q8_0": (8, 32, 34, "q8_0"),
    "q2_k": (10, 256, 84, "q2_K"),
    "q3_k": (11, 256, 110, "q3_K"),
    "q4_k": (12, 256, 144, "q4_K"),
    "q5_k": (13, 256, 176, "q5_K"),
    "q6_k": (14, 256, 210, "q6_K"),
    "q1_0": (41, 128, 18, "q1_0"),
    "q2_0": (42, 64, 18, "q2_0"),
    "q8_k": (15, 256, 292, "q8_K"),
    "iq4_nl": (20, 32, 18, "iq4_nl"),
    "iq4_xs": (23, 256, 136, "iq4_xs"),
    "mxfp4": (39, 32, 17, "mxfp4"),
    "nvfp4": (40, 64, 36, "nvfp4"),
    "tq1_0": (34, 256, 54, "tq1_0"),
    "tq2_0": (35, 256, 66, "tq2_0"),
    "iq3_s": (21, 256, 110, "iq3_s"),
    "iq3_xxs": (18, 256, 98, "iq3_xxs"),
    "iq2_s": (22, 256, 82, "iq2_s"),
    "iq2_xs": (17, 256, 74, "iq2_xs"),
    "iq2_xxs": (16, 256, 66, "iq2_xxs"),
    "iq1_s": (19, 256, 50, "iq1_s"),
    "iq1_m": (29, 256, 56, "iq1_m"),
}
# Types that hone decodes and does not encode.
READ_ONLY = {"q8_k"}
# Types that ggml encodes only with importance: without it, it ends the process, where hone takes it as 1.
WEIGHTED_ONLY = {"iq2_xs", "iq2_xxs", "iq1_s"}
# Data on which ggml's encoders of types with code books end the process.
FATAL = {"squares overflow", "limit"}
BOOKS = {name for name in TYPES if name.startswith(("iq1", "iq2", "iq3"))}
NCOLS = 2048


def pointer(array):
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


class Ggml:
    def __init__(self, path):
        if path is None:
            import importlib.util

            spec = importlib.util.find_spec("llama_cpp")
            if spec is None:
                sys.exit("llama_cpp is not installed")
            found = glob.glob(os.path.join(os.path.dirname(spec.origin), "lib", "libggml-base.so*"))
            if not found:
                sys.exit("llama_cpp carries no libggml-base.so")
            path = found[0]
        self.lib = ctypes.CDLL(path)
        self.lib.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + \
            [ctypes.c_int64] * 3 + [ctypes.c_void_p]

    def quantize(self, name, x, importance):
        ggml_id, nelems, nbytes, _ = TYPES[name]
        out = np.zeros((x.shape[0], x.shape[1] // nelems * nbytes), np.uint8)
        if importance is None and name in WEIGHTED_ONLY:
            importance = np.ones(x.shape[1], np.float32)
        self.lib.ggml_quantize_chunk(ggml_id, pointer(x), pointer(out), 0, x.shape[0], x.shape[1], pointer(importance))
        return out

    def dequantize(self, name, data, nelems):
        out = np.zeros(nelems, np.float32)
        function = getattr(self.lib, "dequantize_row_" + TYPES[name][3])
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        function.restype = None
        function(pointer(data), pointer(out), nelems)
        return out


class Options(ctypes.Structure):
    _fields_ = [("n_threads", ctypes.c_int), ("memory_nbytes", ctypes.c_uint64), ("cpu", ctypes.c_char_p),
                ("progress", ctypes.c_void_p), ("note", ctypes.c_void_p), ("user", ctypes.c_void_p)]


class Hone:
    def __init__(self, path, cpu):
        self.lib = ctypes.CDLL(path)
        self.lib.hone_quantize_rows.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p,
                                                ctypes.c_size_t, ctypes.c_size_t] + [ctypes.c_void_p] * 3
        self.lib.hone_dequantize_row.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t,
                                                 ctypes.c_void_p, ctypes.c_void_p]
        options = Options(cpu=cpu.encode())
        self.context = ctypes.c_void_p()
        status = self.lib.hone_context_new(ctypes.byref(options), ctypes.byref(self.context), None)
        self.available = status == 0

    def dtype(self, name):
        return self.lib.hone_dtype_from_name(name.encode())

    def quantize(self, name, x, importance):
        _, nelems, nbytes, _ = TYPES[name]
        out = np.zeros((x.shape[0], x.shape[1] // nelems * nbytes), np.uint8)
        search = self.lib.hone_search_from_name(b"reference")
        status = self.lib.hone_quantize_rows(self.context, self.dtype(name), search, pointer(x), x.shape[0], x.shape[1],
                                             pointer(importance), pointer(out), None)
        if status:
            sys.exit(f"hone_quantize_rows({name}) returned {status}")
        return out

    def dequantize(self, name, data, nelems):
        out = np.zeros(nelems, np.float32)
        status = self.lib.hone_dequantize_row(self.context, self.dtype(name), pointer(data), nelems, pointer(out), None)
        if status:
            sys.exit(f"hone_dequantize_row({name}) returned {status}")
        return out


def fills(rng, nrows):
    """Yields (name, rows): what weights look like, and what they should not look like."""
    shape = (nrows, NCOLS)
    gauss = rng.standard_normal(shape).astype(np.float32)
    yield "gaussian", gauss * np.float32(0.02)
    yield "t5", rng.standard_t(5, shape).astype(np.float32) * np.float32(0.02)
    outliers = gauss * np.float32(0.02)
    outliers[rng.random(shape) < 0.003] *= 80
    yield "outliers", outliers
    zeros = gauss * np.float32(0.05)
    zeros[np.repeat(rng.random((nrows, NCOLS // 16)) < 0.4, 16, axis=1)] = 0
    zeros[0, :512] = 0
    yield "zero groups", zeros
    constant = np.repeat(rng.standard_normal((nrows, NCOLS // 32)).astype(np.float32), 32, axis=1)
    constant[0] = 0.25
    constant[-1] = -0.25
    yield "constant groups", constant
    yield "positive", np.abs(gauss) + np.float32(0.5)
    yield "negative", -np.abs(gauss) - np.float32(0.5)
    yield "two values", np.where(gauss > 0.3, np.float32(0.7), np.float32(-0.1))
    yield "grid", np.round(gauss * 4) / np.float32(8)  # exact ties in the rounding
    yield "bf16", (gauss.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    sizes = np.exp2(rng.integers(-30, 12, (nrows, NCOLS // 32))).astype(np.float32)
    yield "mixed sizes", gauss * np.repeat(sizes, 32, axis=1)
    yield "f16 subnormal scales", gauss * np.float32(1e-6)
    yield "tiny", gauss * np.float32(1e-15)
    yield "smaller", gauss * np.float32(1e-22)
    yield "near subnormal", gauss * np.float32(1e-37)
    yield "subnormal", gauss * np.float32(1e-40)
    yield "large", gauss * np.float32(2e4)
    yield "huge", gauss * np.float32(1e12)
    yield "squares overflow", gauss * np.float32(1e25)
    yield "limit", np.clip(gauss, -1, 1) * np.float32(3.4028e38)


GOLDEN_ROWS = 8
GOLDEN_BLOCKS = 64


def seeded_bits(seed, n):
    """splitmix64 of a counter, as tests/support/seeded_weights.c."""
    z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def golden_weights(seed, n):
    bits = seeded_bits(seed, n)
    v = ((bits >> np.uint64(40)).astype(np.int64) - (1 << 23)).astype(np.float32) * np.float32(2.0**-23)
    x = v * v * v * np.float32(0.1)
    x[bits % np.uint64(509) == 0] *= np.float32(40)
    x[np.arange(n) // 16 % 23 == 7] = 0
    return x


def golden_importance(seed, n):
    v = (seeded_bits(seed, n) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    w = v * v
    w[:32] = 0
    return w


def print_golden_decode(ggml):
    """Print the table of tests/test_decode.c: the CRC-32 of ggml's floats, every NaN written as the same one."""
    for name, (_, nelems, nbytes, dequantizer) in TYPES.items():
        if not dequantizer:
            continue
        data = (seeded_bits(7, GOLDEN_BLOCKS * nbytes) >> np.uint64(40)).astype(np.uint8)
        floats = ggml.dequantize(name, data, GOLDEN_BLOCKS * nelems)
        floats[np.isnan(floats)] = np.nan
        print(f"    {{HONE_{name.upper()}, 0x{zlib.crc32(floats.tobytes()):08x}}},")


def print_golden(ggml):
    """Print the table of tests/test_encode.c: the CRC-32 of ggml's bytes."""
    x = golden_weights(1, GOLDEN_ROWS * NCOLS).reshape(GOLDEN_ROWS, NCOLS)
    importance = golden_importance(2, NCOLS)
    for name in TYPES:
        if name in READ_ONLY:
            continue
        sums = [zlib.crc32(ggml.quantize(name, x, w).tobytes()) for w in (None, importance)]
        print(f"    {{HONE_{name.upper()}, 0x{sums[0]:08x}, 0x{sums[1]:08x}}},")


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--ggml", help="path of libggml-base.so; default: the one of the llama_cpp package")
    parser.add_argument("--rows", type=int, default=32, help="rows of 2048 per kind of data")
    parser.add_argument("--type", action="append", help="only these types")
    parser.add_argument("--golden", action="store_true", help="print the golden table of tests/test_encode.c instead")
    parser.add_argument("--golden-decode", action="store_true", help="print the golden table of tests/test_decode.c")
    args = parser.parse_args()
    ggml = Ggml(args.ggml)
    if args.golden or args.golden_decode:
        print_golden(ggml) if args.golden else print_golden_decode(ggml)
        return 0
    tally = common.Tally()
    for cpu in ("ref", "avx2", "avx512", "neon"):
        hone = Hone(args.lib, cpu)
        if not hone.available:
            continue
        for name, (_, nelems, nbytes, dequantizer) in TYPES.items():
            if args.type and name not in args.type:
                continue
            rng = np.random.default_rng(20260101)
            blocks = {"encode": 0, "encode weighted": 0, "decode": 0}
            differ = {}
            for kind, rows in [] if name in READ_ONLY else fills(rng, args.rows):
                x = np.ascontiguousarray(rows, np.float32)
                importance = (rng.standard_normal(NCOLS) ** 2).astype(np.float32)
                importance[rng.random(NCOLS) < 0.05] = 0
                importance[:32] = 0
                if name in BOOKS and kind in FATAL:
                    continue
                for what, weights in (("encode", None), ("encode weighted", importance)):
                    want = ggml.quantize(name, x, weights)
                    got = hone.quantize(name, x, weights)
                    bad = (want.reshape(-1, nbytes) != got.reshape(-1, nbytes)).any(axis=1)
                    blocks[what] += bad.size
                    if bad.any():
                        differ[f"{what}, {kind}"] = int(bad.sum())
                    if not dequantizer:
                        continue
                    floats = [side.dequantize(name, want, x.size) for side in (ggml, hone)]
                    # NaN payloads are nobody's contract; every other bit is.
                    same = (floats[0].view(np.uint32) == floats[1].view(np.uint32)) | np.isnan(floats).all(axis=0)
                    bad = ~same.reshape(-1, nelems).all(axis=1)
                    blocks["decode"] += bad.size
                    if bad.any():
                        differ[f"decode, {kind}"] = int(bad.sum())
            if dequantizer:
                data = rng.integers(0, 256, 4096 * nbytes, np.uint8)
                floats = [side.dequantize(name, data, 4096 * nelems) for side in (ggml, hone)]
                same = (floats[0].view(np.uint32) == floats[1].view(np.uint32)) | np.isnan(floats).all(axis=0)
                bad = ~same.reshape(-1, nelems).all(axis=1)
                blocks["decode"] += bad.size
                if bad.any():
                    differ["decode, random bytes"] = int(bad.sum())
            counts = ", ".join(f"{n} blocks {what}" for what, n in blocks.items() if n)
            tally.check(not differ, f"{name} {cpu}: {counts}" + (f"; differ: {differ}" if differ else ""))
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
