# SPDX-License-Identifier: MIT
"""Compares hone's calibration with hooks on transformers' linear layers, and what GPTQ makes of it with the definition.

The sums are those of llama.cpp's imatrix tool: over all tokens of all chunks, the first of each replaced by BOS. The error of a
layer's output is tr(E H ET), with E what coding left of the weight and H the mean of x xT.
"""
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy
import torch
import transformers

import common
from check_forward import Hone, load_library

SUM_LIMIT = 1e-5  # relative, of a column's sum of squares
GRAM_LIMIT = 1e-5  # of a product's sum, relative to the geometric mean of its columns' sums of squares
LOSS_LIMIT = 1e-4  # relative: hone adds up losses in f32

LLAMA = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
# What reads the residual stream in the first layer: weights, and the norm before them.
LLAMA_READERS = [(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "input_layernorm"),
                 (("mlp.gate_proj", "mlp.up_proj"), "post_attention_layernorm")]
GPT2_READERS = [(("attn.c_attn",), "ln_1"), (("mlp.c_fc",), "ln_2")]
GPT2 = {"attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}


class Watch:
    """x xT of every linear layer's input, in f64; and of the rows that read the embedding, where it is not the output too."""

    def __init__(self, model):
        self.grams, self.tokens, self.counts = {}, 0, {}
        gpt2 = hasattr(model, "transformer")
        layers = model.transformer.h if gpt2 else model.model.layers
        names = GPT2 if gpt2 else LLAMA
        model.lm_head.register_forward_pre_hook(self.hook("output.weight"))
        if not model.config.tie_word_embeddings:
            rows = torch.cat([self.read(layers[0], path, norm, gpt2) for paths, norm in (GPT2_READERS if gpt2 else LLAMA_READERS)
                              for path in paths])
            self.grams["token_embd.weight"] = (rows.T @ rows).numpy()
            self.counts["token_embd.weight"] = len(rows)
        for i, layer in enumerate(layers):
            for name, path in names.items():
                layer.get_submodule(path).register_forward_pre_hook(self.hook(f"blk.{i}.{name}.weight"))

    @staticmethod
    def read(layer, path, norm, gpt2):
        weight = layer.get_submodule(path).weight.detach().double()
        rows = (weight.T if gpt2 else weight) * layer.get_submodule(norm).weight.detach().double()
        return rows - rows.mean(1, keepdim=True) if gpt2 else rows

    def hook(self, name):
        def see(_, inputs):
            x = inputs[0].detach()[0].double()
            self.grams[name] = self.grams.get(name, 0) + (x.T @ x).numpy()
        return see


def watch(path, text, n_ctx, n_chunks, lib):
    hone = Hone(lib, path)
    hone.load_tokenizer()
    tokens, bos = hone.encode(text)
    hone.close()
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    seen = Watch(model.double())
    for i in range(n_chunks):
        chunk = tokens[i * n_ctx:(i + 1) * n_ctx].copy()
        if bos >= 0:
            chunk[0] = bos
        with torch.no_grad():
            model(torch.tensor([list(map(int, chunk))]))
        seen.tokens += n_ctx
    return seen


class Stats:
    """What a calibration file holds."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.tensors = {t.name: numpy.array(t.data, dtype=numpy.float64) for t in reader.tensors}
        self.fields = {k: f.contents() for k, f in reader.fields.items()}
        self.gram_of = dict(zip(self.fields.get("hone.calibration.weights", []), self.fields.get("hone.calibration.grams", [])))

    def gram(self, weight):
        packed = self.tensors[self.gram_of[weight]].ravel()
        n = self.tensors[weight + ".in_sum2"].size
        full = numpy.zeros((n, n))
        full[numpy.triu_indices(n)] = packed
        return full + numpy.triu(full, 1).T


def run(args, *words):
    return subprocess.run([args.hone, *map(str, words), "--quiet"], check=True, stdout=subprocess.PIPE).stdout


def compare_sums(tally, name, stats, seen):
    worst = worst_gram = 0.0
    if "output.weight.in_sum2" not in stats.tensors:  # it is stored as the embedding
        seen.grams["token_embd.weight"] = seen.grams.pop("output.weight")
    for weight, gram in seen.grams.items():
        squares = numpy.diag(gram)
        ours = stats.tensors[weight + ".in_sum2"].ravel()
        worst = max(worst, numpy.abs(ours / squares - 1).max())
        scale = numpy.sqrt(numpy.outer(squares, squares))
        worst_gram = max(worst_gram, (numpy.abs(stats.gram(weight) - gram) / scale).max())
        if stats.tensors[weight + ".counts"].ravel().tolist() != [seen.counts.get(weight, seen.tokens)]:
            worst = float("inf")
    names = {t.removesuffix(".in_sum2") for t in stats.tensors if t.endswith(".in_sum2")}
    tally.check(names == set(seen.grams), f"{name}: the same {len(names)} weights")
    tally.check(worst < SUM_LIMIT, f"{name}: sums of squares, worst relative difference {worst:.1e}")
    tally.check(worst_gram < GRAM_LIMIT, f"{name}: second moments, worst difference {worst_gram:.1e}")
    keys = [stats.fields.get(k) for k in ("general.type", "imatrix.chunk_count", "imatrix.chunk_size")]
    tally.check(keys[0] == "imatrix" and keys[1] * keys[2] == seen.tokens and bool(stats.fields["imatrix.datasets"]),
                f"{name}: the keys that llama-quantize reads, {keys}")


def weights_of(path):
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(numpy.float64)
            for t in gguf.GGUFReader(path).tensors if len(t.shape) == 2}


def shrunk(gram, n):
    """Second moments with correlations shrunk as Chen et al. (2010, OAS) have it, variances as they are."""
    scale = numpy.sqrt(numpy.outer(numpy.diag(gram), numpy.diag(gram)))
    squares = (numpy.divide(gram, scale, out=numpy.zeros_like(gram), where=scale > 0) ** 2).sum()
    p = numpy.count_nonzero(numpy.diag(gram))
    part = min(1.0, ((1 - 2 / p) * squares + p * p) / ((n + 1 - 2 / p) * (squares - p)))
    return ((1 - part) * gram + part * numpy.diag(numpy.diag(gram))) / n


def damped_moments(stats):
    """What error feedback weighs errors with, of each weight."""
    out = {}
    for weight in stats.gram_of:
        h = shrunk(stats.gram(weight), stats.tensors[weight + ".counts"].ravel()[0])
        out[weight] = h + 0.01 * numpy.diag(h).mean() * numpy.eye(len(h))
    return out


def compare_losses(tally, args, name, path, moments, exact, stats_path, work, kind):
    files = {how: ["--method", how, "--calibration", stats_path] for how in ("plain", "gptq")}
    for how, words in files.items():
        run(args, "quantize", path, "--type", kind, "-o", work / f"{how}.gguf", "--force", *words)
    plain, coded = (weights_of(work / f) for f in ("plain.gguf", "gptq.gguf"))
    total = {"plain": 0.0, "gptq": 0.0}
    worse = 0
    for weight in moments.keys() & exact.keys():  # no "output.weight" where the embedding is that
        h = moments[weight]
        losses = [((e @ h) * e).sum(1) for e in (exact[weight] - plain[weight], exact[weight] - coded[weight])]
        total["plain"] += losses[0].sum()
        total["gptq"] += losses[1].sum()
        worse += int((losses[1] > losses[0] * (1 + LOSS_LIMIT)).sum())
    ratio = total["gptq"] / total["plain"]
    tally.check(worse == 0 and ratio < 0.8, f"{name} {kind}: error of the outputs {ratio:.3f} of the plain one's, {worse} rows worse")


def check_model(tally, args, lib, path, text, n_ctx, n_chunks):
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        (work / "text").write_bytes(text)
        stats_path = work / "stats.gguf"
        run(args, "calibrate", path, "--text", work / "text", "--ctx", n_ctx, "--chunks", n_chunks, "--hessian", "-o", stats_path)
        stats = Stats(stats_path)
        compare_sums(tally, path.name, stats, watch(path, text, n_ctx, n_chunks, lib))
        run(args, "convert", path, "--type", "f32", "-o", work / "f32.gguf")
        moments, exact = damped_moments(stats), weights_of(work / "f32.gguf")
        for kind in ("q4_k_m", "q2_k", "q3_k_m", "q5_k_m", "q4_0", "q5_1", "q8_0", "iq4_nl", "iq4_xs"):
            compare_losses(tally, args, path.name, path, moments, exact, stats_path, work, kind)


def main():
    args = common.arguments(__doc__).parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    lib, tally = load_library(args.lib), common.Tally()
    models, texts, own = args.models, args.texts, common.EMBEDDED
    cases = [(own / "tiny-llama", own / "tiny-llama" / "heldout.txt", 128), (own / "tiny-gpt2", own / "tiny-gpt2" / "heldout.txt", 128),
             (models / "story-llama", texts / "tinystories-a.txt", 128), (models / "lit-llama", texts / "wikitext2-valid.txt", 128)]
    for path, text, n_ctx in cases:
        if not (path / "config.json").exists() or not text.exists():
            print(f"SKIP  {path.name}: not there")
            continue
        check_model(tally, args, lib, path, text.read_text(encoding="utf-8")[:60000].encode(), n_ctx, 24)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
