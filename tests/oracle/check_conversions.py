# SPDX-License-Identifier: MIT
"""Configurations that no checkpoint at hand has: random models are converted to GGUF f32, and the file must give llama.cpp the
perplexity, and hone's own reader of GGUF the logits, that the checkpoint gives."""
import json
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch

import check_forward
import common
import llama

# GGUF's "llama" has no sliding window: converting such a model must say so.
WINDOWED = {"Mistral, sliding window", "Mistral, window of one"}
N_CTX, N_CHUNKS = 64, 8
# Relative. The largest measured is 1.2e-7 for LLaMA and Mistral, which llama.cpp's CPU code computes in f32. GELU it looks up,
# by an f16 and as an f16 (ggml_vec_gelu_f32 in ggml-cpu/vec.h), and GPT-2's perplexity differs by up to 9.0e-5.
PPL_LIMIT = 1e-4
# The same once gelu_table_effect() has been allowed for; measured: up to 1.5e-5. An input whose last bits differ is now and
# then rounded to the f16 beside, which moves all layers behind: the table's effect can be had to a part only.
TABLE_LIMIT = 3e-5
N_VOCAB = 1024


class TableGelu(torch.nn.Module):
    """GELU as llama.cpp looks it up: of the input rounded to f16, rounded to f16; beyond 10, zero or the input."""

    def forward(self, x):
        y = torch.nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x <= -10, 0, torch.where(x >= 10, x, y))


def gelu_table_effect(lib, directory, text):
    """The factor by which the table changes the perplexity, from transformers alone."""
    hone, model = check_forward.Hone(lib, directory), check_forward.reference(directory)
    hone.load_tokenizer()
    tokens, bos = hone.encode(text.encode())
    hone.close()
    plain, _ = check_forward.reference_perplexity(model, tokens, bos, N_CTX, N_CHUNKS)
    for block in model.transformer.h:
        block.mlp.act = TableGelu()
    table, _ = check_forward.reference_perplexity(model, tokens, bos, N_CTX, N_CHUNKS)
    return math.exp(table - plain)


def main():
    args, tally = common.arguments(__doc__).parse_args(), common.Tally()
    check_forward.transformers.logging.set_verbosity_error()
    check_forward.transformers.utils.logging.disable_progress_bar()
    llama.start()
    lib = check_forward.load_library(args.lib)
    check_forward.SMALL["vocab_size"] = N_VOCAB
    embedded = common.EMBEDDED / "tiny-llama"
    text = embedded / "heldout.txt"
    for seed, (name, kind, members, changes) in enumerate(check_forward.RANDOM + check_forward.RANDOM_GPT2):
        with tempfile.TemporaryDirectory() as tmp:
            directory, out, report = (pathlib.Path(tmp) / n for n in ("model", "out.gguf", "report.json"))
            check_forward.make_model(directory, kind, members, changes, seed)
            for file in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(embedded / file, directory)
            talk = subprocess.run([args.hone, "convert", directory, "-o", out, "--type", "f32"], check=True,
                                  capture_output=True, text=True).stderr
            if name in WINDOWED:
                tally.check("sliding_window" in talk, f"{name}: {talk.strip()}")
                continue
            done = subprocess.run([args.hone, "verify", directory, out, "--text", text, "--ctx", str(N_CTX), "--chunks",
                                   str(N_CHUNKS), "--gate", "kld.mean<1e-9", "--json", report], stdout=subprocess.DEVNULL)
            result = json.loads(report.read_text())
            tally.check(done.returncode == 0, f"{name}: KLD of the GGUF file from the checkpoint {result['kld']['mean']:.1e}")
            model = llama.Model(str(out), N_CTX)
            tokens = model.tokenize(text.read_text(encoding="utf-8")[:8000])
            theirs, scored = model.perplexity(tokens, N_CHUNKS)
            model.close()
            ratio = theirs / result["candidate"]["ppl"]
            effect = gelu_table_effect(lib, directory, text.read_text(encoding="utf-8")[:8000]) if kind == "GPT2" else 1
            relative, residue = abs(ratio - 1), abs(ratio / effect - 1)
            tally.check(relative < PPL_LIMIT and residue < TABLE_LIMIT,
                        f"{name}: perplexity llama.cpp {theirs:.3f}, relative difference {relative:.1e}"
                        + (f", {residue:.1e} but for its table of GELU" if kind == "GPT2" else ""))
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
