# SPDX-License-Identifier: MIT
"""Files of hone against llama.cpp: loading, perplexity, greedy continuation, and the bytes of its quantizer."""
import argparse
import ctypes
import json
import math
import os
import subprocess
import sys
import tempfile

import numpy as np
import gguf
import llama_cpp

passed = failed = 0
# A reference that lives as long as llama.cpp may call it.
SILENT = llama_cpp.llama_log_callback(lambda *_: None)

MIXES = {
    "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q3_k_s": 11, "q3_k_m": 12, "q3_k_l": 13,
    "q4_k_s": 14, "q4_k_m": 15, "q5_k_s": 16, "q5_k_m": 17, "q6_k": 18,
    "iq4_nl": 25, "iq4_xs": 30, "tq1_0": 36, "tq2_0": 37, "mxfp4_moe": 38, "q1_0": 40,
}  # q2_0 too, but the gguf package does not know it; q2_k_s too, but llama.cpp refuses it without an importance matrix


def check(ok, text):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
    print(("ok   " if ok else "FAIL ") + text, flush=True)


def hone(args, *words):
    subprocess.run([args.hone, *words, "--quiet"], check=True, stdout=subprocess.DEVNULL)


class Model:
    """A GGUF file in llama.cpp, through its C interface."""

    def __init__(self, path, n_ctx):
        params = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp does not load {path}")
        cparams = llama_cpp.llama_context_default_params()
        cparams.n_ctx = n_ctx
        cparams.n_batch = cparams.n_ubatch = n_ctx
        cparams.n_threads = cparams.n_threads_batch = 2
        cparams.type_k = cparams.type_v = 0  # f32: measure the weights, not the cache
        cparams.flash_attn_type = 0
        self.ctx = llama_cpp.llama_init_from_model(self.model, cparams)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.n_ctx = n_ctx

    def tokenize(self, text, special=False):
        data = text.encode()
        buf = (llama_cpp.llama_token * (len(data) + 16))()
        n = llama_cpp.llama_tokenize(self.vocab, data, len(data), buf, len(buf), True, special)
        return list(buf[:n])

    def logits(self, tokens):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.ctx), True)
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, t in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = t, i, 1, 1
            batch.seq_id[i][0] = 0
        if llama_cpp.llama_decode(self.ctx, batch) != 0:
            raise RuntimeError("llama_decode failed")
        p = llama_cpp.llama_get_logits(self.ctx)
        out = np.ctypeslib.as_array(p, shape=(len(tokens), self.n_vocab)).astype(np.float64)
        llama_cpp.llama_batch_free(batch)
        return out

    def greedy(self, prompt, n):
        tokens = list(prompt)
        for _ in range(n):
            tokens.append(int(self.logits(tokens)[-1].argmax()))
        return tokens[len(prompt):]

    def perplexity(self, tokens, chunks):
        total, count = 0.0, 0
        add_bos = llama_cpp.llama_vocab_get_add_bos(self.vocab)
        for c in range(min(chunks, len(tokens) // self.n_ctx)):
            chunk = tokens[c * self.n_ctx:(c + 1) * self.n_ctx]
            fed = list(chunk)
            if add_bos:
                fed[0] = llama_cpp.llama_vocab_bos(self.vocab)
            logits = self.logits(fed)
            for i in range(self.n_ctx // 2, self.n_ctx - 1):
                row = logits[i]
                m = row.max()
                total += m + math.log(np.exp(row - m).sum()) - row[chunk[i + 1]]
                count += 1
        return math.exp(total / count), count

    def close(self):
        llama_cpp.llama_free(self.ctx)
        llama_cpp.llama_model_free(self.model)


def transformers_greedy(directory, prompt, n):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(n):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[len(prompt):]


def read_tensors(path):
    return {t.name: (t.tensor_type.name, t.data.tobytes()) for t in gguf.GGUFReader(path).tensors}


def text_for(directory, text_path, tmp):
    """llama.cpp aborts on a character that the vocabulary has neither as a token nor as bytes: leave such out."""
    path = os.path.join(directory, "tokenizer.json")
    vocab = json.load(open(path))["model"]["vocab"] if os.path.exists(path) else {"<0x00>": 0}
    if "<0x00>" in vocab or "\u0120" in vocab:  # (no tokenizer.json: tokenizer.model or vocab.json, both with all bytes)
        return text_path
    known = {c for token in vocab for c in token} | {" "}
    out = os.path.join(tmp, "known.txt")
    with open(out, "w", encoding="utf-8") as f:
        f.write("".join(c for c in open(text_path, encoding="utf-8").read() if c in known))
    return out


def compare_loading(args, name, directory, text_path, tmp):
    text_path = text_for(directory, text_path, tmp)
    text = open(text_path, encoding="utf-8").read()
    config = json.load(open(os.path.join(directory, "config.json")))
    n_ctx = min(512, config.get("max_position_embeddings", config.get("n_positions", 512)))
    for kind in ("f32", "f16", "bf16", "q8_0", "q4_k_m"):
        out = os.path.join(tmp, f"{name}-{kind}.gguf")
        hone(args, "convert" if kind != "q4_k_m" else "quantize", directory, "-o", out, "--type", kind)
        model = Model(out, n_ctx)
        tokens = model.tokenize(text)
        theirs, scored = model.perplexity(tokens, 8)
        ours = json.loads(subprocess.run(
            [args.hone, "perplexity", out, "--text", text_path, "--ctx", str(n_ctx), "--chunks", "8", "--json", "-",
             "--quiet"], check=True, capture_output=True).stdout)
        relative = abs(ours["ppl"] / theirs - 1)
        check(ours["scored"] == scored and relative < 0.005,
              f"{name} {kind}: perplexity llama.cpp {theirs:.4f}, hone {ours['ppl']:.4f} ({relative:.2e}) over {scored}")
        ids = json.loads(subprocess.run([args.hone, "tokenize", out, "--text", text_path, "--json", "-"], check=True,
                                        capture_output=True).stdout)["ids"]
        check(ids == tokens, f"{name} {kind}: {len(tokens)} token ids of the held-out text equal llama.cpp's")
        if kind in ("f32", "f16"):
            prompt = tokens[:24]  # with the continuation, 56 tokens: gpt2-tiny has 64 positions
            check(model.greedy(prompt, 32) == transformers_greedy(directory, prompt, 32),
                  f"{name} {kind}: greedy 32-token continuation equals transformers'")
        model.close()


def compare_quantizer(args, name, directory, tmp):
    source = os.path.join(tmp, f"{name}-f32.gguf")
    theirs, ours = os.path.join(tmp, "theirs.gguf"), os.path.join(tmp, "ours.gguf")
    for mix, file_type in MIXES.items():
        for pure in (False, True):
            params = llama_cpp.llama_model_quantize_default_params()
            params.ftype, params.pure, params.nthread = file_type, pure, 2
            if llama_cpp.llama_model_quantize(source.encode(), theirs.encode(), ctypes.byref(params)) != 0:
                check(False, f"{name} {mix}: llama.cpp's quantizer failed")
                continue
            a = read_tensors(theirs)
            for src, what in ((directory, "directory"), (source, "GGUF")):
                hone(args, "quantize", src, "-o", ours, "--type", mix, "--force", "--search", "reference",
                     *(["--pure"] if pure else []))
                b = read_tensors(ours)
                differ = [n for n in a if a[n] != b.get(n)]
                types = sorted({t for t, _ in a.values()})
                check(a.keys() == b.keys() and not differ,
                      f"{name} {mix}{' --pure' if pure else ''} from {what}: {len(a)} tensors ({', '.join(types)}) "
                      f"byte-equal" + (f"; differ: {differ[:3]}" if differ else ""))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lib")
    parser.add_argument("--hone", required=True)
    parser.add_argument("--only", help="the name of one model")
    args = parser.parse_args()
    llama_cpp.llama_log_set(SILENT, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    models = os.environ.get("HONE_MODELS", os.path.join(root, "..", "shared", "models"))
    texts = os.environ.get("HONE_TEXTS", os.path.join(root, "..", "shared", "texts"))
    embedded = os.path.join(root, "tests", "models")
    cases = [(n, os.path.join(embedded, n), os.path.join(embedded, n, "heldout.txt"))
             for n in ("tiny-llama", "tiny-llama-spm", "tiny-gpt2")]
    cases += [("gpt2-tiny", os.path.join(models, "gpt2-tiny"), os.path.join(models, "gpt2-tiny", "data.txt"))]
    cases += [(n, os.path.join(models, n), os.path.join(texts, "tinystories-a.txt"))
              for n in ("story-llama", "lit-llama")]
    with tempfile.TemporaryDirectory() as tmp:
        for name, directory, text in cases:
            if args.only not in (None, name):
                continue
            if not os.path.isdir(directory) or not os.path.exists(text):
                print(f"SKIP {name}: not here")
                continue
            compare_loading(args, name, directory, text, tmp)
            compare_quantizer(args, name, directory, tmp)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
