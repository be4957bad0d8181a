# SPDX-License-Identifier: MIT
"""Perplexity of a tiny test model on its held-out text.

usage: evaluate.py DIR...

The text is cut into chunks of the context length, each with BOS at its
start; the second half of every chunk is scored.  Printed are the perplexity
with its standard error (ppl * sd(nll) / sqrt(n)), the perplexity of the best
unigram model on the same tokens, and the perplexity after all matrices have
gone through q4_0 and back.
"""
import argparse
import json
import math
import os

import torch


def load_tokens(path):
    """Token ids of heldout.txt without BOS, and the id of BOS."""
    with open(os.path.join(path, "heldout.txt"), encoding="utf-8", newline="") as f:
        text = f.read()
    with open(os.path.join(path, "config.json"), encoding="utf-8") as f:
        bos = json.load(f)["bos_token_id"]
    if os.path.exists(os.path.join(path, "tokenizer.json")):
        from tokenizers import Tokenizer
        tok = Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
        ids = tok.encode(text, add_special_tokens=False).ids
    elif os.path.exists(os.path.join(path, "tokenizer.model")):
        import sentencepiece
        ids = sentencepiece.SentencePieceProcessor(os.path.join(path, "tokenizer.model")).encode(text)
    else:
        from tokenizers import ByteLevelBPETokenizer
        tok = ByteLevelBPETokenizer(os.path.join(path, "vocab.json"), os.path.join(path, "merges.txt"))
        ids = tok.encode(text).ids
    return ids, bos, len(text.encode())


def score(model, ids, bos, ctx):
    """Negative log-likelihoods of the scored tokens, and those tokens."""
    body = ctx - 1
    chunks = [[bos] + ids[i:i + body] for i in range(0, len(ids) - body + 1, body)]
    first = ctx // 2
    nll, seen = [], []
    with torch.no_grad():
        for i in range(0, len(chunks), 8):
            x = torch.tensor(chunks[i:i + 8])
            logp = torch.log_softmax(model(input_ids=x, use_cache=False).logits[:, first - 1:-1].float(), -1)
            target = x[:, first:]
            nll.append(-logp.gather(-1, target.unsqueeze(-1)).flatten().double())
            seen.append(target.flatten())
    return torch.cat(nll), torch.cat(seen)


def q4_0(w):
    """Quantize the rows of a matrix to q4_0 and back."""
    x = w.float().reshape(-1, 32)
    at = x.abs().argmax(1, keepdim=True)
    d = x.gather(1, at) / -8
    inverse = torch.where(d != 0, 1 / d, torch.zeros_like(d))
    q = (x * inverse + 8.5).trunc().clamp(0, 15)
    return ((q - 8) * d.half().float()).reshape(w.shape)


def quantize(model):
    from transformers.pytorch_utils import Conv1D
    transposed = {m.weight.data_ptr() for m in model.modules() if isinstance(m, Conv1D)}
    for w in model.parameters():
        if w.dim() == 2:
            # Conv1D keeps its matrix transposed
            new = q4_0(w.data.t().contiguous()).t() if w.data_ptr() in transposed else q4_0(w.data)
            w.data.copy_(new)


def summary(nll):
    ppl = math.exp(nll.mean().item())
    return ppl, ppl * nll.std().item() / math.sqrt(len(nll))


def main():
    ap = argparse.ArgumentParser(description="perplexity of tiny test models on their held-out text")
    ap.add_argument("dir", nargs="+")
    ap.add_argument("--threads", type=int, default=2)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    from transformers import AutoModelForCausalLM
    failed = False
    for path in a.dir:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        ids, bos, size = load_tokens(path)
        ctx = model.config.max_position_embeddings
        nll, seen = score(model, ids, bos, ctx)
        counts = torch.bincount(seen).double()
        freq = counts[counts > 0] / counts.sum()
        unigram = math.exp(-(freq * freq.log()).sum().item())
        ppl, err = summary(nll)
        quantize(model)
        qnll, _ = score(model, ids, bos, ctx)
        qppl, qerr = summary(qnll)
        paired = (qnll - nll).std().item() / math.sqrt(len(nll))
        print(f"{os.path.basename(os.path.normpath(path))}: {size} bytes, {len(ids)} tokens, {len(nll)} scored, ctx {ctx}")
        print(f"  unigram ppl  {unigram:.4f}")
        print(f"  model ppl    {ppl:.4f} +/- {err:.4f}  (unigram / model = {unigram / ppl:.1f})")
        print(f"  q4_0 ppl     {qppl:.4f} +/- {qerr:.4f}  (rise {qppl - ppl:+.4f} = {(qppl - ppl) / err:.2f} standard errors; "
              f"mean nll difference {(qnll - nll).mean().item():.5f} +/- {paired:.5f})")
        ok = ppl * 5 <= unigram and qppl - ppl > err
        print("  ok" if ok else "  NOT ok: want unigram / model >= 5 and a rise above one standard error")
        failed |= not ok
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
