#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Usage: gptq_peer.py MODEL TOKENS OUT SCHEME CTX CHUNKS

llm-compressor's GPTQ of a Hugging Face directory, on the tokens that `hone tokenize` printed for the calibration text, cut as
`hone calibrate` cuts them. SCHEME: W4A16 (symmetric, groups of 128), W4A16_ASYM. Needs llmcompressor, which runs on a CPU.
"""
import json
import re
import sys

import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import GPTQModifier
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast


def main(model_path, tokens, out, scheme, ctx, n_chunks):
    ctx, n_chunks = int(ctx), int(n_chunks)
    with open(f"{model_path}/config.json") as f:
        bos = json.load(f).get("bos_token_id")
    with open(tokens) as f:
        ids = [int(token) for token in re.findall(r"-?\d+", f.read())]
    chunks = [ids[i * ctx:(i + 1) * ctx] for i in range(min(n_chunks, len(ids) // ctx))]
    if bos is not None:
        chunks = [[bos] + chunk[1:] for chunk in chunks]
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    # It asks for a tokenizer whatever the data are; nothing is given to it.
    processor = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"": 0})))
    dataset = Dataset.from_list([{"input_ids": c, "attention_mask": [1] * ctx} for c in chunks])
    oneshot(model=model, processor=processor, dataset=dataset, recipe=GPTQModifier(targets="Linear", scheme=scheme, ignore=["lm_head"]),
            max_seq_length=ctx, num_calibration_samples=len(chunks), shuffle_calibration_samples=False)
    model.save_pretrained(out, save_compressed=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
