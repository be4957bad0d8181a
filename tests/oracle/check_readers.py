# SPDX-License-Identifier: MIT
"""Compare hone's readers with the packages that define the formats: safetensors and gguf.

Every checkpoint under --models that these formats cover is opened with both sides and compared tensor by tensor (name,
type, shape, bytes) and entry by entry. Then headers damaged at random are given to both: what the reference refuses,
hone must refuse.
"""
import ctypes as c
import json
import os
import random
import sys
import tempfile

import gguf
import numpy as np
import safetensors.numpy

import common

VALUE = dict(zip(range(13), "u8 i8 u16 i16 u32 i32 f32 bool string array u64 i64 f64".split()))
NUMPY = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8"}


class DtypeInfo(c.Structure):
    _fields_ = [("name", c.c_char_p), ("safetensors", c.c_char_p), ("ggml_id", c.c_int), ("block_nelems", c.c_uint32),
                ("block_nbytes", c.c_uint32), ("is_float", c.c_bool), ("is_quantized", c.c_bool)]


class String(c.Structure):
    _fields_ = [("data", c.c_void_p), ("len", c.c_size_t)]

    def bytes(self):
        return c.string_at(self.data, self.len)


class Array(c.Structure):
    _fields_ = [("elem_type", c.c_int), ("count", c.c_uint64), ("items", c.c_void_p), ("strings", c.POINTER(String))]


class Value(c.Union):
    _fields_ = [("u", c.c_uint64), ("i", c.c_int64), ("f", c.c_double), ("string", String), ("array", Array)]


class Metadata(c.Structure):
    _fields_ = [("key", String), ("type", c.c_int), ("v", Value)]


class Hone:
    def __init__(self, path):
        self.lib = common.load_library(path)
        self.lib.hone_checkpoint_metadata.restype = c.POINTER(Metadata)
        self.lib.hone_dtype_describe.restype = c.POINTER(DtypeInfo)

    def open(self, path):
        """(checkpoint, None) or (None, text of the error)."""
        try:
            return common.open_checkpoint(self.lib, path), None
        except common.HoneError as e:
            return None, str(e)

    def close(self, ckpt):
        self.lib.hone_checkpoint_close(ckpt)

    def tensors(self, ckpt):
        """name -> (dtype row, shape, bytes, offset), in file order."""
        out = {}
        for i in range(self.lib.hone_checkpoint_n_tensors(ckpt)):
            t = self.lib.hone_checkpoint_tensor(ckpt, i)
            data = c.create_string_buffer(max(t.contents.nbytes, 1))
            common.call(self.lib, self.lib.hone_checkpoint_read, ckpt, t, 0, t.contents.nbytes, data)
            info = self.lib.hone_dtype_describe(t.contents.dtype).contents
            out[t.contents.name.decode()] = (info, list(t.contents.shape[:t.contents.n_dims]),
                                             data.raw[:t.contents.nbytes], t.contents.offset)
        return out

    def metadata(self, ckpt):
        """key -> (type, value)"""
        out = {}
        for i in range(self.lib.hone_checkpoint_n_metadata(ckpt)):
            m = self.lib.hone_checkpoint_metadata(ckpt, i).contents
            kind = VALUE[m.type]
            if kind == "string":
                value = m.v.string.bytes()
            elif kind == "array" and VALUE[m.v.array.elem_type] == "string":
                value = [m.v.array.strings[k].bytes() for k in range(m.v.array.count)]
            elif kind == "array":
                dtype = np.dtype(NUMPY[m.v.array.elem_type])
                value = np.frombuffer(c.string_at(m.v.array.items, m.v.array.count * dtype.itemsize), dtype).tolist()
            else:
                value = m.v.f if kind[0] == "f" else m.v.i if kind[0] == "i" else m.v.u
            out[m.key.bytes().decode()] = (kind, value)
        return out


def compare_safetensors(hone, path):
    blob = open(path, "rb").read()
    header = json.loads(blob[8:8 + int.from_bytes(blob[:8], "little")])
    theirs = dict(safetensors.deserialize(blob))
    ckpt, error = hone.open(path)
    if error:
        return error
    ours, metadata = hone.tensors(ckpt), hone.metadata(ckpt)
    hone.close(ckpt)
    if metadata != {k: ("string", v.encode()) for k, v in header.get("__metadata__", {}).items()}:
        return "metadata"
    if set(ours) != set(theirs):
        return "names"
    for name, (info, shape, data, _) in ours.items():
        other = theirs[name]
        if (info.safetensors.decode(), shape) != (other["dtype"], list(other["shape"])):
            return f"{name}: type or shape"
        if data != bytes(other["data"]):
            return f"{name}: bytes"
    return None


def gguf_value(field):
    types = [int(t) for t in field.types]
    if VALUE[types[0]] == "string":
        return "string", bytes(field.parts[field.data[0]])
    if VALUE[types[0]] != "array":
        return VALUE[types[0]], field.parts[field.data[0]][0].item()
    if len(field.data) == 0:
        return "array", []
    if VALUE[types[1]] == "string":
        return "array", [bytes(field.parts[i]) for i in field.data]
    return "array", [field.parts[i][0].item() for i in field.data]


def compare_gguf(hone, path):
    reader = gguf.GGUFReader(path)
    ckpt, error = hone.open(path)
    if error:
        return error
    ours, metadata = hone.tensors(ckpt), hone.metadata(ckpt)
    hone.close(ckpt)
    theirs = {k: gguf_value(f) for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    if set(metadata) != set(theirs):
        return "keys"
    for key, value in metadata.items():
        if value != theirs[key]:
            return f"{key}: value"
    if list(ours) != [t.name for t in reader.tensors]:
        return "names"
    for t in reader.tensors:
        info, shape, data, offset = ours[t.name]
        if (info.ggml_id, shape, offset) != (int(t.tensor_type), [int(d) for d in t.shape][::-1], t.data_offset):
            return f"{t.name}: type, shape or offset"
        if data != t.data.tobytes():
            return f"{t.name}: bytes"
    return None


def write_gguf(path, alignment):
    rng = np.random.default_rng(1)
    w = gguf.GGUFWriter(path, "llama")
    if alignment != 32:
        w.add_custom_alignment(alignment)
    for kind, value in (("uint8", 200), ("int8", -5), ("uint16", 60000), ("int16", -6), ("uint32", 1 << 31),
                        ("int32", -7), ("uint64", 1 << 63), ("int64", -8), ("float32", 0.1), ("float64", 0.1),
                        ("bool", True)):
        getattr(w, "add_" + kind)("x." + kind, value)
    w.add_string("x.string", "h\u00e9")
    w.add_array("x.strings", ["a", "", "\u5c42"])
    w.add_array("x.ints", [1, -2, 3])
    w.add_array("x.floats", [0.5, -1.5])
    w.add_array("x.bools", [True, False])
    w.add_tensor("a.weight", rng.standard_normal((3, 5), np.float32))
    w.add_tensor("b.weight", rng.standard_normal((2, 3, 4), np.float32).astype(np.float16))
    w.add_tensor("c.bias", np.arange(7, dtype=np.int32))
    q = gguf.GGMLQuantizationType
    for kind in (q.Q4_0, q.Q4_1, q.Q5_0, q.Q5_1, q.Q8_0, q.BF16):
        data = gguf.quants.quantize(rng.standard_normal((4, 64), np.float32), kind)
        w.add_tensor(f"{kind.name}.weight", data, raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


class Ggml:
    """gguf_init_from_file() of llama.cpp; None when llama_cpp is not installed."""

    class Params(c.Structure):
        _fields_ = [("no_alloc", c.c_bool), ("ctx", c.c_void_p)]

    def __init__(self):
        import importlib.util

        spec = importlib.util.find_spec("llama_cpp")
        path = spec and os.path.join(os.path.dirname(spec.origin), "lib", "libggml-base.so")
        self.lib = c.CDLL(path) if path and os.path.exists(path) else None
        if self.lib:
            self.lib.gguf_init_from_file.restype = c.c_void_p
            self.lib.gguf_init_from_file.argtypes = [c.c_char_p, self.Params]
            self.lib.gguf_free.argtypes = [c.c_void_p]
            self.quiet = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)(lambda *_: None)
            self.lib.ggml_log_set(self.quiet, None)

    def accepts(self, path):
        ctx = self.lib.gguf_init_from_file(os.fsencode(path), self.Params(True, None))
        if ctx:
            self.lib.gguf_free(ctx)
        return bool(ctx)


def damage(rng, blob, header_len):
    out = bytearray(blob)
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(header_len)
        kind = rng.randrange(5)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.choice(b'0123456789"{}[],: -')
        elif kind == 2:
            out[at] = rng.choice((0, 1, 8, 32, 255))
        elif kind == 3:
            del out[at]
        else:
            out = out[:rng.randrange(len(out))] or bytearray(b"x")
            header_len = min(header_len, len(out))
    return bytes(out)


def check_damaged(tally, hone, name, blob, header_len, suffix, accepts, n):
    """hone may refuse more than the reference, never less."""
    rng, counts, problem = random.Random(7), [0, 0, 0], None
    with tempfile.TemporaryDirectory() as root:
        path = os.path.join(root, "x" + suffix)
        for i in range(n):
            with open(path, "wb") as f:
                f.write(damage(rng, blob, header_len))
            reference = accepts(path)
            ckpt, error = hone.open(path)
            if ckpt:
                hone.close(ckpt)
            counts[0 if ckpt else 1 if not reference else 2] += 1
            if ckpt and not reference:
                problem = problem or f"file {i} is refused by the reference only"
    tally.report(f"{name}: {n} damaged headers, {counts[0]} read, {counts[1]} refused by both, {counts[2]} by hone alone",
           problem)


def safetensors_accepts(path):
    try:
        safetensors.deserialize(open(path, "rb").read())
        return True
    except safetensors.SafetensorError:
        return False


def main():
    args = common.arguments(__doc__).parse_args()
    hone, tally = Hone(args.lib), common.Tally()
    found = sorted(os.path.join(d, f) for d, _, files in os.walk(args.models) for f in files)
    for path in found:
        name = os.path.relpath(path, args.models)
        if path.endswith(".safetensors"):
            tally.report(name, compare_safetensors(hone, path))
        elif path.endswith(".gguf"):
            tally.report(name, compare_gguf(hone, path))
    if not found:
        print(f"SKIP: nothing under {args.models}")
    with tempfile.TemporaryDirectory() as root:
        for alignment in (32, 64, 8):
            path = os.path.join(root, f"{alignment}.gguf")
            write_gguf(path, alignment)
            tally.report(f"written by gguf, alignment {alignment}", compare_gguf(hone, path))
        blob = open(os.path.join(root, "32.gguf"), "rb").read()
        ggml = Ggml()
        if ggml.lib:
            header_len = gguf.GGUFReader(os.path.join(root, "32.gguf")).data_offset
            check_damaged(tally, hone, "gguf", blob, header_len, ".gguf", ggml.accepts, 2000)
        else:
            print("SKIP: llama_cpp is not installed")
    blob = safetensors.numpy.save({"a": np.ones((2, 3), np.float32), "b.weight": np.ones(4, np.float16),
                                   "empty": np.ones(0, np.int64)}, {"format": "pt"})
    header_len = 8 + int.from_bytes(blob[:8], "little")
    check_damaged(tally, hone, "safetensors", blob, header_len, ".safetensors", safetensors_accepts, 2000)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
