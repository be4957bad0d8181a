# SPDX-License-Identifier: MIT
"""Configurations that no checkpoint at hand has: random models are converted to GGUF f32, and the file must give llama.cpp the
perplexity, and hone's own reader of GGUF the logits, that the checkpoint gives."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import check_forward
import common
import llama

# GGUF's "llama" has no sliding window: converting such a model must say so.
WINDOWED = {"Mistral, sliding window", "Mistral, window of one"}
N_CTX, N_CHUNKS = 64, 8
# Relative; the weights are f32 on both sides, but llama.cpp looks its GELU up in a table of f16.
PPL_LIMIT = 1e-4
N_VOCAB = 1024


def main():
    args, tally = common.arguments(__doc__).parse_args(), common.Tally()
    check_forward.transformers.logging.set_verbosity_error()
    check_forward.transformers.utils.logging.disable_progress_bar()
    llama.start()
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
            relative = abs(theirs / result["candidate"]["ppl"] - 1)
            tally.check(relative < PPL_LIMIT, f"{name}: perplexity llama.cpp {theirs:.3f}, relative difference {relative:.1e}")
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
