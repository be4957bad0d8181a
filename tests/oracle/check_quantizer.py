# SPDX-License-Identifier: MIT
"""Type choices and bytes of llama.cpp's quantizer, without and with an importance matrix: on made-up models of many layers,
shared heads and experts, on the embedded models, and on those of HONE_MODELS."""
import ctypes
import os
import subprocess
import sys
import tempfile

import numpy as np
import gguf
import llama_cpp

import common
import llama


def write_model(path, rng, layers, heads, kv_heads, width, ff, experts=0, tied=False):
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(128)
    w.add_embedding_length(width)
    w.add_block_count(layers)
    w.add_feed_forward_length(ff)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(width // heads)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(2)
    w.add_tokenizer_model("no_vocab")
    w.add_vocab_size(64)
    shapes = {}

    def add(name, *shape):
        shapes[name] = shape
        w.add_tensor(name, (rng.standard_t(5, shape) * 0.05).astype(np.float32))

    add("token_embd.weight", 64, width)
    if not tied:
        add("output.weight", 64, width)
    add("output_norm.weight", width)
    kv = width // heads * kv_heads
    for i in range(layers):
        p = f"blk.{i}."
        add(p + "attn_norm.weight", width)
        add(p + "ffn_norm.weight", width)
        for name, rows in (("attn_q", width), ("attn_k", kv), ("attn_v", kv), ("attn_output", width)):
            add(p + name + ".weight", rows, width)
        if experts:
            add(p + "ffn_gate_inp.weight", experts, width)
            add(p + "ffn_gate_exps.weight", experts, ff, width)
            add(p + "ffn_up_exps.weight", experts, ff, width)
            add(p + "ffn_down_exps.weight", experts, width, ff)
        else:
            add(p + "ffn_gate.weight", ff, width)
            add(p + "ffn_up.weight", ff, width)
            add(p + "ffn_down.weight", width, ff)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return shapes


def make_sums(rng, shapes):
    """in_sum2 (n_mat, n_cols) and counts (n_mat) of every matrix but the embedding."""
    out = {}
    for name, shape in sorted(shapes.items()):
        if len(shape) < 2 or name.startswith("token_embd") or "gate_inp" in name:
            continue
        n_mat = shape[0] if len(shape) == 3 else 1
        counts = rng.integers(1, 4000, n_mat).astype(np.float32)
        sums = (rng.standard_normal((n_mat, shape[-1])) ** 2).astype(np.float32) * counts[:, None]
        sums[:, rng.random(shape[-1]) < 0.01] = 0  # columns that only zeros reached
        if n_mat > 1:
            counts[-1], sums[-1] = 0, 0  # an expert that nothing reached
        out[name] = (sums, counts)
    return out


def mean_squares(sums):
    """What llama-quantize makes of sums and counts: 1 where nothing was counted."""
    return {name: np.where(counts[:, None] > 0, total / np.maximum(counts, 1)[:, None], 1).astype(np.float32)
            for name, (total, counts) in sums.items()}


def write_imatrix(path, sums, datasets=("calibration.txt",), chunks=7, with_tensors=True):
    w = gguf.GGUFWriter(path, "imatrix")
    w.add_type("imatrix")
    w.add_array("imatrix.datasets", list(datasets))
    w.add_uint32("imatrix.chunk_count", chunks)
    w.add_uint32("imatrix.chunk_size", 512)
    for name, (total, counts) in sums.items():
        w.add_tensor(name + ".in_sum2", total)
        w.add_tensor(name + ".counts", counts.reshape(-1, 1))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_legacy(path, sums, dataset=b"calibration.txt", chunks=7):
    """Values are means times the number of calls, one number of calls for all experts."""
    with open(path, "wb") as f:
        f.write(np.int32(len(sums)).tobytes())
        for name, (total, counts) in sums.items():
            values = mean_squares({name: (total, counts)})[name].ravel() * np.float32(chunks)
            f.write(np.int32(len(name)).tobytes() + name.encode() + np.int32(chunks).tobytes() +
                    np.int32(values.size).tobytes() + values.tobytes())
        f.write(np.int32(chunks).tobytes() + np.int32(len(dataset)).tobytes() + dataset)


def llama_imatrix(means):
    """The structures that llama_model_quantize() takes; the second result keeps them alive."""
    entries = (llama_cpp.llama_model_imatrix_data * (len(means) + 1))()
    keep = []
    for entry, (name, values) in zip(entries, means.items()):
        values = np.ascontiguousarray(values, np.float32)
        keep.append((name.encode(), values))
        entry.name = keep[-1][0]
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = values.size
    return entries, keep


def compare(tally, args, what, source, mix, tmp, means=None, imatrix=None, words=(), **params):
    theirs, ours = os.path.join(tmp, "theirs.gguf"), os.path.join(tmp, "ours.gguf")
    if means is not None:
        entries, keep = llama_imatrix(means)
        params["imatrix"] = ctypes.cast(entries, ctypes.POINTER(llama_cpp.llama_model_imatrix_data))
    refused = not llama.quantize(source, theirs, mix, **params)
    if imatrix:
        words = (*words, "--imatrix", imatrix)
    done = subprocess.run([args.hone, "quantize", source, "-o", ours, "--type", mix, "--force", "--search", "reference",
                           "--quiet", *words], capture_output=True, text=True)
    if refused:
        expected = mix in llama.NEEDS_IMPORTANCE and means is None
        tally.check(expected and done.returncode == 2, f"{what} {mix}: refused by both: {done.stderr.strip()}")
        return
    if done.returncode != 0:
        tally.check(False, f"{what} {mix}: {done.stderr.strip()}")
        return
    a, b = llama.read_tensors(theirs), llama.read_tensors(ours)
    types = [n for n in a if n not in b or a[n][0] != b[n][0]]
    differ = [n for n in a if a[n] != b.get(n)]
    text = f"{what} {mix}: {len(a)} tensors ({', '.join(sorted({t for t, _ in a.values()}))}) byte-equal"
    if types:
        text += f"; other types: {[(n, a[n][0], b.get(n, ['none'])[0]) for n in types[:3]]}"
    tally.check(a.keys() == b.keys() and not differ, text + (f"; differ: {differ[:3]}" if differ else ""))


def compare_mixes(tally, args, what, source, shapes, rng, tmp):
    sums = make_sums(rng, shapes)
    means = mean_squares(sums)
    new, old = os.path.join(tmp, "imatrix.gguf"), os.path.join(tmp, "imatrix.dat")
    write_imatrix(new, sums)
    write_legacy(old, sums)
    for mix in args.mix or llama.MIXES:
        if llama.refuses(source, mix):
            continue
        compare(tally, args, what, source, mix, tmp)
        compare(tally, args, what + ", imatrix", source, mix, tmp, means, new)
    legacy = {n: (m * np.float32(7)).astype(np.float32) / np.float32(7) for n, m in means.items()}
    for mix in ("q4_0", "iq4_xs", "q4_k_m"):
        if mix in (args.mix or llama.MIXES):
            compare(tally, args, what + ", imatrix.dat", source, mix, tmp, legacy, old)


def compare_ends(tally, args, what, source, tmp):
    both = dict(output_tensor_type=6, token_embedding_type=2)
    for mix in ("q4_k_m", "mxfp4_moe"):
        compare(tally, args, what + ", types of ends", source, mix, tmp, **both,
                words=("--output-type", "q5_0", "--embedding-type", "q4_0"))
        compare(tally, args, what + ", type of output", source, mix, tmp, output_tensor_type=6,
                words=("--output-type", "q5_0"))
        compare(tally, args, what + ", pure, types of ends", source, mix, tmp, **both, pure=True,
                words=("--pure", "--output-type", "q5_0", "--embedding-type", "q4_0"))


def compare_real(tally, args, rng, tmp):
    cases = [common.EMBEDDED / n for n in ("tiny-llama", "tiny-llama-spm", "tiny-gpt2", "tiny-mixtral")]
    cases += [args.models / n for n in ("story-llama", "story-llama-bf16", "lit-llama", "gpt2-tiny")]
    for directory in cases:
        if not directory.is_dir():
            print(f"SKIP {directory.name}: not here")
            continue
        source = os.path.join(tmp, "source.gguf")
        subprocess.run([args.hone, "convert", directory, "-o", source, "--type", "f32", "--force", "--quiet"],
                       check=True, stdout=subprocess.DEVNULL)
        shapes = {t.name: tuple(int(n) for n in t.shape[::-1]) for t in gguf.GGUFReader(source).tensors}
        compare_mixes(tally, args, directory.name, source, shapes, rng, tmp)


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--mix", action="append")
    args, tally = parser.parse_args(), common.Tally()
    llama.start()
    rng = np.random.default_rng(20260101)
    models = {
        "16 layers, 4 heads a key": dict(layers=16, heads=8, kv_heads=2, width=256, ff=256),
        "17 layers, tied": dict(layers=17, heads=4, kv_heads=4, width=256, ff=256, tied=True),
        "8 experts": dict(layers=8, heads=4, kv_heads=2, width=256, ff=256, experts=8),
        "4 experts": dict(layers=8, heads=4, kv_heads=1, width=256, ff=256, experts=4),
        "rows of 96": dict(layers=8, heads=4, kv_heads=1, width=96, ff=160),
    }
    with tempfile.TemporaryDirectory() as tmp:
        compare_real(tally, args, rng, tmp)
        for what, shape in models.items():
            source = os.path.join(tmp, "model.gguf")
            shapes = write_model(source, rng, **shape)
            compare_mixes(tally, args, what, source, shapes, rng, tmp)
            if not args.mix:
                compare_ends(tally, args, what, source, tmp)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
