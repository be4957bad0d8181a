# SPDX-License-Identifier: MIT
"""Runs rotated files in llama.cpp, and directories in transformers, beside the same model without rotation.

A rotation is orthogonal: all that may differ is the rounding of f32.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers

import common
import llama

LIMIT = 1e-4  # of the largest logit
N_TOKENS = 48
MODELS = [("tiny-llama", "residual+heads"), ("tiny-gpt2", "heads"), ("tiny-llama-spm", "heads"), ("tiny-mixtral", "residual+heads")]


def convert(hone, source, out, *options):
    subprocess.run([hone, "convert", source, "-o", out, "--quiet", *options], check=True, stdout=subprocess.DEVNULL)


def in_llama(path, tokens):
    model = llama.Model(str(path), 64)
    logits = model.logits(tokens)
    model.close()
    return logits


def in_transformers(path, tokens):
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].double().numpy()


def compare(tally, name, plain, rotated):
    difference = numpy.abs(plain - rotated).max() / numpy.abs(plain).max()
    tally.check(0 < difference < LIMIT, f"{name}: logits differ by {difference:.1e} of the largest")


def main():
    args = common.arguments(__doc__).parse_args()
    tally = common.Tally()
    llama.start()
    for name, rotation in MODELS:
        source = common.EMBEDDED / name
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            convert(args.hone, source, work / "plain.gguf", "--type", "f32")
            convert(args.hone, source, work / "rotated.gguf", "--type", "f32", "--rotate", rotation)
            convert(args.hone, source, work / "rotated", "--to", "safetensors", "--type", "f32", "--rotate", rotation)
            tokens = [(7 * i + 3) % 500 + 3 for i in range(N_TOKENS)]
            compare(tally, f"{name} {rotation} in llama.cpp", in_llama(work / "plain.gguf", tokens),
                    in_llama(work / "rotated.gguf", tokens))
            compare(tally, f"{name} {rotation} in transformers", in_transformers(source, tokens),
                    in_transformers(work / "rotated", tokens))
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
