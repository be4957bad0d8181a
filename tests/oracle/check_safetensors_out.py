# SPDX-License-Identifier: MIT
"""Convert every checkpoint there is to safetensors and compare with what torch, safetensors and gguf read from the source.

For each source: hone convert --to safetensors, in one file and in small shards; the tensors read back by the safetensors
package must be those that the source's own package reads, bit for bit, names, types and shapes included (blocks of a GGUF
file as the f32 that gguf dequantizes them to). --type f16, bf16, f32 must give torch's own casts. hone check verifies each
output and finds one flipped bit. Language models load in transformers and give the logits of the source.
"""
import json
import os
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as save_safetensors

import common

WRAPPERS = ("model_state_dict", "state_dict", "model")
TORCH_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")


def flatten(value, prefix=""):
    """Tensors of a nested state dict, under dotted names."""
    if isinstance(value, torch.Tensor):
        yield prefix, value.detach()
    elif isinstance(value, (dict, list, tuple)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            yield from flatten(item, f"{prefix}.{key}" if prefix else str(key))


def read_torch(path):
    """A training checkpoint stands for the model in it: hone leaves the optimizer behind."""
    value = torch.load(path, map_location="cpu", weights_only=True)
    while isinstance(value, dict):
        inner = next((value[k] for k in WRAPPERS if isinstance(value.get(k), dict)), None)
        if inner is None:
            break
        value = inner
    return dict(flatten(value))


def read_safetensors(path):
    with safe_open(path, "pt") as f:
        return {name: f.get_tensor(name) for name in f.keys()}


def read_gguf(path):
    out = {}
    for t in gguf.GGUFReader(path).tensors:
        plain = {gguf.GGMLQuantizationType.F32: torch.float32, gguf.GGMLQuantizationType.F16: torch.float16}
        shape = [int(n) for n in reversed(t.shape)]
        if t.tensor_type in plain:
            value = torch.from_numpy(np.array(t.data)).reshape(shape)
        elif t.tensor_type == gguf.GGMLQuantizationType.BF16:
            value = torch.from_numpy(np.array(t.data)).view(torch.bfloat16).reshape(shape)
        else:
            value = torch.from_numpy(gguf.dequantize(t.data, t.tensor_type).astype(np.float32)).reshape(shape)
        out[t.name] = value
    return out


def read_source(path):
    if not os.path.isdir(path):
        reader = read_gguf if path.endswith(".gguf") else read_safetensors if path.endswith(".safetensors") else read_torch
        return reader(path)
    for index, single, reader in (("model.safetensors.index.json", "model.safetensors", read_safetensors),
                                  ("pytorch_model.bin.index.json", "pytorch_model.bin", read_torch)):
        if os.path.exists(os.path.join(path, index)):
            files = sorted(set(json.load(open(os.path.join(path, index)))["weight_map"].values()))
        elif os.path.exists(os.path.join(path, single)):
            files = [single]
        else:
            continue
        return {k: v for f in files for k, v in reader(os.path.join(path, f)).items()}
    raise FileNotFoundError(path)


def read_output(path):
    """Tensors, and what is wrong with the layout of the directory."""
    index = os.path.join(path, "model.safetensors.index.json")
    if not os.path.exists(index):
        return read_safetensors(os.path.join(path, "model.safetensors")), None
    index = json.load(open(index))
    tensors, total = {}, 0
    for file in sorted(set(index["weight_map"].values())):
        with safe_open(os.path.join(path, file), "pt") as f:
            if f.metadata().get("format") != "pt":
                return tensors, f"{file}: format is not pt"
            for name in f.keys():
                if index["weight_map"].get(name) != file:
                    return tensors, f"{name}: not where the index puts it"
                tensors[name] = f.get_tensor(name)
                total += tensors[name].nbytes
    if total != index["metadata"]["total_size"] or set(tensors) != set(index["weight_map"]):
        return tensors, "total_size or names of the index"
    return tensors, None


def bits(t):
    return t.contiguous().flatten().view(torch.uint8) if t.numel() else t.flatten()


def compare(ours, theirs):
    if set(ours) != set(theirs):
        return f"names: {sorted(set(ours) ^ set(theirs))[:4]}"
    for name, value in theirs.items():
        got = ours[name]
        if got.dtype != value.dtype or got.shape != value.shape:
            return f"{name}: {got.dtype} {list(got.shape)}, not {value.dtype} {list(value.shape)}"
        if not torch.equal(bits(got), bits(value)):
            return f"{name}: bytes differ"
    return None


def run(args, *words):
    result = subprocess.run([args.hone, *words], capture_output=True, text=True)
    return result.returncode, result.stderr.strip() or result.stdout.strip()


def convert(args, source, out, *options):
    code, text = run(args, "convert", source, "-o", out, "--to", "safetensors", "--quiet", *options)
    if code:
        return f"exit {code}: {text}"
    code, text = run(args, "check", out)
    return f"check: {text}" if code else None


def check_source(tally, args, name, source):
    try:
        theirs = read_source(source)
    except Exception as e:  # what torch itself refuses to read without running code is no subject here
        with tempfile.TemporaryDirectory() as work:
            problem = convert(args, source, os.path.join(work, "out"))
        print(f"skip {name}: the reference does not read it ({type(e).__name__}); hone: {problem or 'reads it'}")
        return
    if not theirs:
        print(f"skip {name}: no tensors")
        return
    size = max(t.nbytes for t in theirs.values())
    for label, options in (("one file", ()), ("shards", ("--shard-size", str(max(size, 1)), "--threads", "2"))):
        with tempfile.TemporaryDirectory() as work:
            out = os.path.join(work, "out")
            problem = convert(args, source, out, *options)
            if not problem:
                ours, problem = read_output(out)
                problem = problem or compare(ours, theirs)
            tally.report(f"{name}, {label}, {len(theirs)} tensors", problem)
    check_casts(tally, args, name, source, theirs)


def check_casts(tally, args, name, source, theirs):
    for word, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16), ("f16", torch.float16)):
        floats = [t for t in theirs.values() if t.is_floating_point()]
        if not floats:
            return
        cast = {k: v.to(torch.float32).to(dtype) if v.is_floating_point() else v for k, v in theirs.items()}
        overflows = any(bool((torch.isinf(cast[k]) & ~torch.isinf(v)).any()) for k, v in theirs.items()
                        if v.is_floating_point())
        with tempfile.TemporaryDirectory() as work:
            out = os.path.join(work, "out")
            problem = convert(args, source, out, "--type", word)
            if overflows:
                tally.report(f"{name}, --type {word} refuses what overflows", None if problem and "too large" in problem else
                       problem or "not refused")
                continue
            if not problem:
                ours, problem = read_output(out)
                # The bits of a NaN are not part of a cast.
                same = {k: torch.where(torch.isnan(v), torch.zeros_like(v), v) if v.is_floating_point() else v
                        for k, v in ours.items()}
                cast = {k: torch.where(torch.isnan(v), torch.zeros_like(v), v) if v.is_floating_point() else v
                        for k, v in cast.items()}
                problem = problem or compare(same, cast)
            tally.report(f"{name}, --type {word}", problem)


def check_header_order(tally, args, work):
    """Order and offsets are those of the reference writer, given the same tensors."""
    tensors = {f"{d}.{i}": torch.zeros(3, 5, dtype=d) for i in range(2)
               for d in (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool,
                         torch.float64, torch.int16, torch.int8)}
    tensors = {k.replace("torch.", ""): v for k, v in tensors.items()}
    source, out = os.path.join(work, "order.safetensors"), os.path.join(work, "order")
    blob = save_safetensors(tensors, {"format": "pt"})
    open(source, "wb").write(blob)
    problem = convert(args, source, out)
    if not problem:
        ours = open(os.path.join(out, "model.safetensors"), "rb").read()
        headers = [json.loads(b[8:8 + int.from_bytes(b[:8], "little")]) for b in (ours, blob)]
        for h in headers:
            h.pop("__metadata__")
        problem = None if headers[0] == headers[1] else "another order"
    tally.report("order and offsets of the reference writer", problem)


def check_transformers(tally, args, name, source):
    import transformers
    transformers.logging.set_verbosity_error()
    ids = torch.arange(1, 33).reshape(1, -1)
    with tempfile.TemporaryDirectory() as work:
        out = os.path.join(work, "out")
        problem = convert(args, source, out, "--shard-size", "1MB")
        if not problem:
            logits = []
            for path in (source, out):
                model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
                with torch.no_grad():
                    logits.append(model(ids).logits)
            problem = None if torch.equal(*logits) else f"logits differ by {(logits[0] - logits[1]).abs().max()}"
        tally.report(f"{name}: transformers", problem)


def check_flips(tally, args, source):
    """Every bit counts: of the header as of the data."""
    with tempfile.TemporaryDirectory() as work:
        out = os.path.join(work, "out")
        problem = convert(args, source, out)
        path = os.path.join(out, "model.safetensors")
        blob = bytearray(open(path, "rb").read()) if not problem else bytearray(16)
        start = 8 + int.from_bytes(blob[:8], "little")
        rng = np.random.default_rng(5)
        places = [8] + [int(x) for x in rng.integers(8, start, 40)] + [int(x) for x in rng.integers(start, len(blob), 40)]
        for at in places if not problem else []:
            flipped = bytearray(blob)
            flipped[at] ^= 1 << int(rng.integers(0, 8))
            open(path, "wb").write(flipped)
            code, text = run(args, "check", out)
            if code not in (1, 2) or (at >= start and code != 1):
                problem = f"byte {at}: exit {code} {text}"
                break
        tally.report(f"81 flipped bits are found in {os.path.basename(source)}", problem)


def sources(models):
    for root, dirs, files in sorted(os.walk(models)):
        dirs.sort()
        name = os.path.relpath(root, models)
        if "config.json" in files and any(f.endswith(".safetensors") or f.startswith("pytorch_model") for f in files):
            yield name, root
            continue
        for f in sorted(files):
            if f.endswith((".safetensors", ".gguf") + TORCH_SUFFIXES):
                yield f"{name}/{f}", os.path.join(root, f)


def main():
    args, tally = common.arguments(__doc__).parse_args(), common.Tally()
    embedded = common.EMBEDDED
    if not os.path.isdir(args.models):
        print("SKIP: no HONE_MODELS")
    for base in (embedded, args.models):
        for name, source in sources(base) if os.path.isdir(base) else ():
            check_source(tally, args, name, source)
    with tempfile.TemporaryDirectory() as work:
        check_header_order(tally, args, work)
        for kind in ("q4_k_m", "q6_k", "q8_0", "q5_1", "f16"):
            out = os.path.join(work, f"{kind}.gguf")
            code, text = run(args, "quantize", os.path.join(embedded, "tiny-llama"), "-o", out, "--type", kind, "--quiet")
            if code:
                tally.report(f"{kind}.gguf", text)
            else:
                check_source(tally, args, f"{kind}.gguf", out)
    check_flips(tally, args, os.path.join(embedded, "tiny-llama-spm"))
    for name, source in (("tiny-llama", os.path.join(embedded, "tiny-llama")),
                         ("story-llama", os.path.join(args.models, "story-llama")),
                         ("story-llama-sharded-bin", os.path.join(args.models, "story-llama-sharded-bin")),
                         ("gpt2-tiny", os.path.join(args.models, "gpt2-tiny"))):
        if os.path.isdir(source):
            check_transformers(tally, args, name, source)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
