# SPDX-License-Identifier: MIT
"""Files of hone against llama.cpp: loading, perplexity, greedy continuation, and the bytes of its quantizer."""
import json
import os
import subprocess
import sys
import tempfile

import common
import llama


def hone(args, *words):
    subprocess.run([args.hone, *words, "--quiet"], check=True, stdout=subprocess.DEVNULL)


def transformers_greedy(directory, prompt, n):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(n):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[len(prompt):]


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


def compare_loading(tally, args, name, directory, text_path, tmp):
    text_path = text_for(directory, text_path, tmp)
    text = open(text_path, encoding="utf-8").read()
    config = json.load(open(os.path.join(directory, "config.json")))
    n_ctx = min(512, config.get("max_position_embeddings", config.get("n_positions", 512)))
    for kind in ("f32", "f16", "bf16", "q8_0", "q4_k_m"):
        out = os.path.join(tmp, f"{name}-{kind}.gguf")
        hone(args, "convert" if kind != "q4_k_m" else "quantize", directory, "-o", out, "--type", kind)
        model = llama.Model(out, n_ctx)
        tokens = model.tokenize(text)
        theirs, scored = model.perplexity(tokens, 8)
        ours = json.loads(subprocess.run(
            [args.hone, "perplexity", out, "--text", text_path, "--ctx", str(n_ctx), "--chunks", "8", "--json", "-",
             "--quiet"], check=True, capture_output=True).stdout)
        relative = abs(ours["ppl"] / theirs - 1)
        tally.check(ours["scored"] == scored and relative < 0.005,
              f"{name} {kind}: perplexity llama.cpp {theirs:.4f}, hone {ours['ppl']:.4f} ({relative:.2e}) over {scored}")
        ids = json.loads(subprocess.run([args.hone, "tokenize", out, "--text", text_path, "--json", "-"], check=True,
                                        capture_output=True).stdout)["ids"]
        tally.check(ids == tokens, f"{name} {kind}: {len(tokens)} token ids of the held-out text equal llama.cpp's")
        if kind in ("f32", "f16"):
            prompt = tokens[:24]  # with the continuation, 56 tokens: gpt2-tiny has 64 positions
            tally.check(model.greedy(prompt, 32) == transformers_greedy(directory, prompt, 32),
                  f"{name} {kind}: greedy 32-token continuation equals transformers'")
        model.close()


def compare_quantizer(tally, args, name, directory, tmp):
    source = os.path.join(tmp, f"{name}-f32.gguf")
    theirs, ours = os.path.join(tmp, "theirs.gguf"), os.path.join(tmp, "ours.gguf")
    for mix in (m for m in llama.MIXES if m not in llama.NEEDS_IMPORTANCE):
        if llama.refuses(source, mix):
            print(f"SKIP {name} {mix}: llama.cpp has no type for rows that are not whole blocks")
            continue
        for pure in (False, True):
            if not llama.quantize(source, theirs, mix, pure=pure):
                tally.check(False, f"{name} {mix}: llama.cpp's quantizer failed")
                continue
            a = llama.read_tensors(theirs)
            for src, what in ((directory, "directory"), (source, "GGUF")):
                hone(args, "quantize", src, "-o", ours, "--type", mix, "--force", "--search", "reference",
                     *(["--pure"] if pure else []))
                b = llama.read_tensors(ours)
                differ = [n for n in a if a[n] != b.get(n)]
                types = sorted({t for t, _ in a.values()})
                tally.check(a.keys() == b.keys() and not differ,
                      f"{name} {mix}{' --pure' if pure else ''} from {what}: {len(a)} tensors ({', '.join(types)}) "
                      f"byte-equal" + (f"; differ: {differ[:3]}" if differ else ""))


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--only", help="the name of one model")
    args, tally = parser.parse_args(), common.Tally()
    llama.start()
    models, texts, embedded = args.models, args.texts, common.EMBEDDED
    cases = [(n, os.path.join(embedded, n), os.path.join(embedded, n, "heldout.txt"))
             for n in ("tiny-llama", "tiny-llama-spm", "tiny-gpt2", "tiny-mixtral")]
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
            compare_loading(tally, args, name, directory, text, tmp)
            compare_quantizer(tally, args, name, directory, tmp)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
