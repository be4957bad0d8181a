# SPDX-License-Identifier: MIT
"""Compare hone's readers of PyTorch and NumPy files with torch and numpy reading the same files.

Every file under --models is accounted for: read by both and equal tensor by tensor, refused by both, or no checkpoint.
Then torch and numpy write what the models lack: every dtype, views, tied tensors, wrappers, the old form, archives of
other folder names, deflated, with ZIP64, in big-endian.
"""
import os
import sys
import tempfile
import warnings
import zipfile

import numpy as np
import torch

import common
from check_readers import Hone

TORCH = {torch.float64: "f64", torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16",
         torch.float8_e4m3fn: "f8_e4m3", torch.float8_e5m2: "f8_e5m2", torch.float8_e8m0fnu: "f8_e8m0",
         torch.int64: "i64", torch.int32: "i32", torch.int16: "i16", torch.int8: "i8", torch.uint64: "u64",
         torch.uint32: "u32", torch.uint16: "u16", torch.uint8: "u8", torch.bool: "bool", torch.complex64: "c64",
         torch.float8_e4m3fnuz: "f8_e4m3fnuz", torch.float8_e5m2fnuz: "f8_e5m2fnuz"}
WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
TRAINING = ("optim", "lr_sched", "sched", "scaler", "rng_state", "cuda_rng_state", "callbacks", "loops")

# What both refuse, and the words of hone's reason.
REFUSED = {"pytorch-oddities/burn/src_pytorch_tests_reader_test_data/broken.pt": "neither a zip file nor a pickle",
           "seq2seq-fr-en/input_lang.pkl": "__main__.Lang",
           "seq2seq-fr-en/output_lang.pkl": "__main__.Lang"}
# Compared by check_readers.py.
ELSEWHERE = (".safetensors", ".gguf")
NO_CHECKPOINT = (".txt", ".json", ".md", ".model", ".inp", ".out", ".py", ".tsv")
NO_CHECKPOINT_NAMES = ("LICENSE", "LICENSE-MIT", "LICENSE-APACHE", "merges.txt", "README")


def items(value):
    if isinstance(value, dict):
        return [(str(k), v) for k, v in value.items()]
    return [(str(i), v) for i, v in enumerate(value)] if isinstance(value, (list, tuple)) else []


def flatten(value, path=""):
    if isinstance(value, torch.Tensor):
        yield path or "tensor", value
    for key, item in items(value):
        yield from flatten(item, f"{path}.{key}" if path else key)


def state_of(root, is_shard):
    """name -> tensor by the rules of formats/pytorch_state.h."""
    while not is_shard and isinstance(root, dict):
        wrapped = next((root[k] for k in WRAPPERS if isinstance(root.get(k), dict)), None)
        if wrapped is None or any(list(flatten(v)) for k, v in root.items()
                                  if v is not wrapped and not str(k).startswith(TRAINING)):
            break
        root = wrapped
    out = dict(flatten(root))
    if not is_shard and out and all(k.startswith("module.") for k in out):
        out = {k[len("module."):]: v for k, v in out.items()}
    return out


def bytes_of(tensor):
    tensor = tensor.detach().contiguous()
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def compare(ours, theirs):
    if set(ours) != set(theirs):
        return f"names: {sorted(set(ours) ^ set(theirs))[:4]}"
    for name, (info, shape, data, _) in ours.items():
        dtype, other_shape, other = theirs[name]
        if (info.name.decode(), shape) != (dtype, other_shape):
            return f"{name}: {info.name.decode()} {shape}, not {dtype} {other_shape}"
        if data != other:
            return f"{name}: bytes"
    return None


def compare_with(hone, path, theirs):
    ckpt, error = hone.open(path)
    if error:
        return error
    try:
        return compare(hone.tensors(ckpt), theirs)
    finally:
        hone.close(ckpt)


def load_torch(path, is_shard=False):
    return describe(torch.load(path, map_location="cpu", weights_only=True), is_shard)


def describe(root, is_shard=False):
    return {k: (TORCH.get(t.dtype, str(t.dtype)), list(t.shape), bytes_of(t)) for k, t in state_of(root, is_shard).items()}


def load_numpy(path):
    loaded = np.load(path, allow_pickle=False)
    arrays = dict(loaded) if hasattr(loaded, "files") else {os.path.basename(path).rsplit(".", 1)[0]: loaded}
    names = {"b1": "bool", "c8": "c64"}
    return {k: (names.get(a.dtype.str[1:], a.dtype.kind + str(8 * a.dtype.itemsize)), list(a.shape),
                np.ascontiguousarray(a).astype(a.dtype.newbyteorder("<")).tobytes()) for k, a in arrays.items()}


def check_models(tally, hone, root):
    found = sorted(os.path.join(d, f) for d, _, files in os.walk(root) for f in files)
    if not found:
        print(f"SKIP: nothing under {root}")
    n_elsewhere = n_none = 0
    for path in found:
        name = os.path.relpath(path, root)
        extension = os.path.splitext(path)[1]
        if name in REFUSED:
            ckpt, error = hone.open(path)
            try:
                load_torch(path)
                tally.report(name, "torch reads it")
            except Exception:
                tally.report(f"{name}: refused by both", None if not ckpt and REFUSED[name] in error else error or "hone reads it")
        elif extension in (".pt", ".pth", ".bin", ".ckpt", ".pkl"):
            tally.report(name, compare_with(hone, path, load_torch(path)))
        elif extension in (".npz", ".npy"):
            tally.report(name, compare_with(hone, path, load_numpy(path)))
        elif extension in ELSEWHERE:
            n_elsewhere += 1
        elif extension in NO_CHECKPOINT or os.path.basename(path) in NO_CHECKPOINT_NAMES:
            n_none += 1
        else:
            tally.report(name, "a file that nothing accounts for")
    print(f"{len(found)} files: {n_elsewhere} compared by check_readers.py, {n_none} are no checkpoints, the rest above")
    for name in sorted(os.listdir(root)) if found else []:
        index = os.path.join(root, name, "pytorch_model.bin.index.json")
        if os.path.exists(index):
            theirs = {}
            for shard in sorted(f for f in os.listdir(os.path.join(root, name)) if f.endswith(".bin")):
                theirs.update(load_torch(os.path.join(root, name, shard), True))
            tally.report(f"{name}, by its index", compare_with(hone, os.path.join(root, name), theirs))


def samples():
    """name -> object to be saved"""
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5) * 0.25 - 3
    every = {}
    for dtype in TORCH:
        raw = torch.arange(48, dtype=torch.uint8).reshape(2, 24)
        every[str(dtype)] = raw.clone() > 20 if dtype == torch.bool else raw.view(dtype).clone()
    tied = torch.randn(4, 6)
    wide = torch.arange(300 * 500, dtype=torch.int32).reshape(300, 500)
    return {
        "every dtype": every,
        "views": {"transposed": base.transpose(0, 2), "sliced": base[1:, ::2, 1:4], "expanded": torch.arange(3.0).expand(4, 3),
                  "column": base[:, :, 2], "narrow": base.narrow(2, 3, 2), "flipped axes": base.permute(2, 0, 1),
                  "scalar view": base[1, 2, 3], "wide": wide.t(), "wide slice": wide[7:250:3, 100:400:7].t()},
        "tied": {"embed.weight": tied, "head.weight": tied, "part": tied[1:3]},
        "wrapped": {"state_dict": {"a": tied, "b": torch.ones(3)}, "optimizer": {"state": {0: torch.zeros(9)}}, "epoch": 3},
        "wrapped twice": {"model": {"state_dict": {"a": tied}}, "lr_scheduler": {"x": torch.ones(1)}},
        "wrapper with tensors beside it": {"model": {"a": tied}, "ema": {"a": tied + 1}},
        "module prefix": {"module.a": tied, "module.b.c": torch.ones(2)},
        "module prefix on some": {"module.a": tied, "b": torch.ones(2)},
        "parameters": torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).state_dict(),
        "bare parameter": {"p": torch.nn.Parameter(torch.randn(2, 3)), "b": torch.nn.Parameter(torch.ones(2), False)},
        "nested lists": {"layers": [{"w": tied}, {"w": torch.ones(1), "n": (torch.zeros(2), 5, "x")}], 7: torch.ones(1)},
        "scalars and empties": {"s": torch.tensor(3.5), "e": torch.empty(0, 4), "e2": torch.empty(2, 0, 3), "i": torch.tensor(7)},
        "plain objects": {"w": tied, "f": 1.5, "big": 1 << 80, "none": None, "bytes": b"abc", "set": {1, 2},
                          "size": torch.Size([2, 3]), "dtype": torch.float16, "device": torch.device("cpu"), "list": [True]},
        "one tensor": torch.randn(5),
        "names in Unicode": {"\u5c42.0.\u00e9": tied},
    }


def rezip(path, out, method, root=None, wide=False):
    with zipfile.ZipFile(path) as src, zipfile.ZipFile(out, "w", method) as dst:
        for entry in src.infolist():
            name = entry.filename if root is None else root + entry.filename[entry.filename.index("/"):]
            with dst.open(zipfile.ZipInfo(name) if method == zipfile.ZIP_STORED else name, "w", force_zip64=wide) as f:
                f.write(src.read(entry))


def check_written(tally, hone, directory):
    for name, value in samples().items():
        for form in ("zip", "legacy"):
            path = os.path.join(directory, "x.pt")
            torch.save(value, path, _use_new_zipfile_serialization=form == "zip")
            # torch cannot read what it wrote of unsigned and 8-bit types in the old form.
            theirs = describe(value) if (name, form) == ("every dtype", "legacy") else load_torch(path)
            tally.report(f"{name}, {form}", compare_with(hone, path, theirs))
    torch.save(samples()["views"], path)
    theirs, out = load_torch(path), os.path.join(directory, "y.bin")
    for label, args in (("deflated", (zipfile.ZIP_DEFLATED,)), ("another root", (zipfile.ZIP_STORED, "a b/c"[:3])),
                        ("ZIP64 everywhere", (zipfile.ZIP_STORED, None, True)),
                        ("deflated, ZIP64", (zipfile.ZIP_DEFLATED, "archive", True))):
        rezip(path, out, *args)
        tally.report(label, compare_with(hone, out, theirs))
    with zipfile.ZipFile(path) as src, zipfile.ZipFile(out, "w") as dst:
        for entry in src.infolist():
            data = src.read(entry)
            if "/data/" in entry.filename:
                data = np.frombuffer(data, "<u4").byteswap().tobytes()
            dst.writestr(entry.filename, b"big" if entry.filename.endswith("byteorder") else data)
    tally.report("big-endian", compare_with(hone, out, theirs))


def check_numpy(tally, hone, directory):
    rng = np.random.default_rng(3)
    arrays = {}
    for kind in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1", "c8"):
        a = (rng.random((3, 4, 2)) * 100).astype(kind)
        arrays.update({f"{kind}.c": a, f"{kind}.fortran": np.asfortranarray(a), f"{kind}.big": a.astype(">" + kind)})
    arrays.update({"scalar": np.float32(3), "empty": np.empty((0, 4), "f4"), "flat": np.arange(5)})
    for label, save in (("npz", np.savez), ("npz, deflated", np.savez_compressed)):
        path = os.path.join(directory, "x.npz")
        save(path, **arrays)
        tally.report(label, compare_with(hone, path, load_numpy(path)))
    for version in ((1, 0), (2, 0), (3, 0)):
        for order in "CF":
            path = os.path.join(directory, "a.npy")
            with open(path, "wb") as f:
                np.lib.format.write_array(f, np.asarray(arrays["f4.c"], order=order), version)
            tally.report(f"npy {version[0]}, order {order}", compare_with(hone, path, load_numpy(path)))
    for label, a in (("complex", np.ones(2, "c16")), ("records", np.zeros(2, [("x", "f4")])), ("text", np.array(["ab"])),
                     ("objects", np.array([None, 1], dtype=object)), ("f16 long double", np.ones(2, np.longdouble))):
        path = os.path.join(directory, "bad.npy")
        np.save(path, a)
        ckpt, error = hone.open(path)
        tally.report(f"npy of {label} is refused", None if not ckpt and error.startswith("unsupported") else str(error))


def check_refused(tally, hone, directory):
    """Objects that torch saves and hone must name and refuse."""
    quantized = torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8)
    cases = {"complex": ({"c": torch.ones(2, dtype=torch.complex128)}, "ComplexDoubleStorage"),
             "sparse": ({"s": torch.eye(2).to_sparse()}, "_rebuild_sparse_tensor"),
             "quantized": ({"q": quantized}, "_rebuild_qtensor"),
             "meta": ({"m": torch.empty(2, device="meta")}, "_rebuild_meta_tensor_no_storage"),
             "a whole module": (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
             "a function": ({"f": os.system}, "posix.system"),
             "a conjugated view": ({"c": torch.ones(2, dtype=torch.complex64).conj()}, "")}
    for label, (value, word) in cases.items():
        for new in (True, False):
            path = os.path.join(directory, "z.pt")
            torch.save(value, path, _use_new_zipfile_serialization=new)
            ckpt, error = hone.open(path)
            tally.report(f"{label} is refused, {'zip' if new else 'legacy'}",
                   None if not ckpt and error.startswith("unsupported") and word in error else str(error))


def main():
    args = common.arguments(__doc__).parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(1)
    hone, tally = Hone(args.lib), common.Tally()
    check_models(tally, hone, args.models)
    with tempfile.TemporaryDirectory() as directory:
        check_written(tally, hone, directory)
        check_numpy(tally, hone, directory)
        check_refused(tally, hone, directory)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
