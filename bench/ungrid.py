#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Usage: ungrid.py IN.gguf OUT.gguf

Makes a fair original for quantizers out of a LLaMA model that exists only in 4 bits: the same function of its input, stored as f16,
whose weights no longer lie on the 4-bit grid. Each norm's weight moves into the columns of the matrices that read the norm, and
values and up projections are scaled by row, from 2^-1/4 to 2^1/4 at random, with the inverse on the columns that read them.
The embedding stays as it is, and so does the last norm, whose reader may be the embedding. Needs gguf and numpy.
"""
import sys

import gguf
import numpy as np

READERS = {"attn_norm": ("attn_q", "attn_k", "attn_v"), "ffn_norm": ("ffn_gate", "ffn_up")}


def load(reader):
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}


def fold_norms(tensors, block):
    for norm, matrices in READERS.items():
        weight = tensors[f"{block}.{norm}.weight"]
        for matrix in matrices:
            tensors[f"{block}.{matrix}.weight"] *= weight
        weight[:] = 1


def scale_between(tensors, written, read, groups, random):
    """Scales rows of `written` and undoes it on the columns of `read`, which sees each head of rows `groups` times."""
    rows = tensors[written]
    scale = np.exp2(random.uniform(-0.25, 0.25, len(rows)))
    rows *= scale[:, None]
    n_heads = groups["kv_heads"] if groups else 1
    seen = scale.reshape(n_heads, -1).repeat(groups["queries"] if groups else 1, axis=0)
    tensors[read] /= seen.reshape(-1)


def copy_metadata(reader, writer):
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(field.name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def main(source, target):
    reader = gguf.GGUFReader(source)
    value = lambda key: reader.fields[key].contents()
    tensors = load(reader)
    random = np.random.default_rng(1)
    kv_heads = value("llama.attention.head_count_kv")
    heads = {"kv_heads": kv_heads, "queries": value("llama.attention.head_count") // kv_heads}
    for i in range(value("llama.block_count")):
        block = f"blk.{i}"
        fold_norms(tensors, block)
        scale_between(tensors, f"{block}.attn_v.weight", f"{block}.attn_output.weight", heads, random)
        scale_between(tensors, f"{block}.ffn_up.weight", f"{block}.ffn_down.weight", None, random)
    writer = gguf.GGUFWriter(target, value("general.architecture"))
    copy_metadata(reader, writer)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor.astype(np.float16 if tensor.ndim > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
