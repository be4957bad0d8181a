# SPDX-License-Identifier: MIT
"""Reads directories written by `hone quantize --to compressed-tensors|gptq|awq|mlx` as their own tools do.

compressed-tensors: transformers loads the directory, decompressed at once where there are zeros (transformers 5.23 cannot
load packed ones otherwise), and the package decompresses it. MLX: mlx.core dequantizes. The packages
of GPTQ and AWQ want a GPU; their directories are decoded here from the published layouts. Each time the weights must be those
that hone reads from its own directory, bit for bit, and perplexity by transformers with these weights that of `hone verify`.
"""
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import load_file

import common
from check_forward import Hone, load_library, reference_perplexity

PPL_LIMIT = 1e-3  # relative
N_CTX, N_CHUNKS = 256, 4

# Options after --to FORMAT.
CASES = {
    "compressed-tensors": ["--symmetric --scale-type f32", "--group 32", "--bits 8 --group row --symmetric",
                           "--bits 3 --group 64 --search reference"],
    "gptq": ["--group 128", "--bits 4 --group 32 --symmetric", "--bits 3 --group 64", "--bits 8 --group row",
             "--bits 2 --group 32 --search reference"],
    "awq": ["--group 128", "--group 32", "--group 64 --search reference"],
    "mlx": ["--group 64", "--bits 8 --group 32", "--bits 3 --group 64 --scale-type f16", "--bits 2 --group 128",
            "--search reference"],
}


def weights_in(directory):
    tensors = {}
    for path in sorted(pathlib.Path(directory).glob("*.safetensors")):
        tensors.update(load_file(path))
    return tensors


def unpack(words, bits):
    """Rows of int32 words as rows of codes, dense from the low bit up."""
    rows = words.numpy().view(np.uint32)
    planes = (rows[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    flat = planes.reshape(rows.shape[0], -1)
    flat = flat[:, :flat.shape[1] // bits * bits].reshape(rows.shape[0], -1, bits)
    return (flat << np.arange(bits, dtype=np.uint32)).sum(-1).astype(np.int64)


def read_gptq(parts, config):
    """qweight (in * bits / 32, out), scales (groups, out), qzeros (groups, out * bits / 32) less one, g_idx (in)."""
    bits, group_of = config["bits"], parts["g_idx"].numpy()
    codes = unpack(parts["qweight"].T.contiguous(), bits)
    zeros = (unpack(parts["qzeros"], bits)[:, :codes.shape[0]] + 1) % (1 << bits)
    scales = parts["scales"].float().numpy()
    return torch.from_numpy(scales[group_of].T * (codes - zeros[group_of].T).astype(np.float32))


def read_awq(parts, config):
    """Words of eight outputs in the order 0 2 4 6 1 3 5 7: qweight (in, out / 8), qzeros (groups, out / 8)."""
    place = [0, 4, 1, 5, 2, 6, 3, 7]
    spread = lambda words: unpack(words, 4).reshape(words.shape[0], -1, 8)[..., place].reshape(words.shape[0], -1)
    codes, zeros, scales = spread(parts["qweight"]), spread(parts["qzeros"]), parts["scales"].float().numpy()
    group_of = np.arange(codes.shape[0]) // (codes.shape[0] // scales.shape[0])
    return torch.from_numpy((scales[group_of] * (codes - zeros[group_of]).astype(np.float32)).T.copy())


def read_mlx(parts, config):
    import mlx.core as mx
    array = lambda t: mx.array(t.float().numpy())
    words = mx.array(parts["weight"].numpy().view(np.uint32))
    out = mx.dequantize(words, array(parts["scales"]), array(parts["biases"]), config["group_size"], config["bits"])
    return torch.from_numpy(np.array(out))


def read_compressed(parts, config):
    import compressed_tensors.quantization as package
    from compressed_tensors.compressors import BaseCompressor
    weights = package.QuantizationArgs(**config["config_groups"]["group_0"]["weights"])
    scheme = package.QuantizationScheme(targets=["Linear"], weights=weights)
    # Scales in f32: products are then exact, whatever type they are stored as.
    parts = {k: v.float() if k == "weight_scale" else v for k, v in parts.items()}
    return BaseCompressor.get_value_from_registry(config["format"]).decompress(parts, scheme)["weight"].float()


READERS = {"compressed-tensors": (read_compressed, "weight_packed"), "gptq": (read_gptq, "qweight"),
           "awq": (read_awq, "qweight"), "mlx": (read_mlx, "scales")}


def read_directory(directory, target):
    """The state of the model in f32, quantized weights as the target's tools read them; the names of the latter."""
    config = json.load(open(os.path.join(directory, "config.json"), encoding="utf-8"))
    config = config["quantization"] if target == "mlx" else config["quantization_config"]
    read, mark = READERS[target]
    tensors, state, quantized = weights_in(directory), {}, []
    for name in [n for n in tensors if n.endswith("." + mark)]:
        module = name[:-len(mark)]
        parts = {n[len(module):]: tensors.pop(n) for n in [n for n in tensors if n.startswith(module)]}
        state[module + "weight"] = read(parts, config)
        quantized.append(module + "weight")
    state.update({name: t.float() for name, t in tensors.items()})
    return state, quantized


def model_with(source, state):
    """The model without quantization, these weights in it."""
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager")
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or [m for m in missing if not (m == "lm_head.weight" and model.config.tie_word_embeddings)]:
        raise ValueError(f"missing {missing}, unexpected {unexpected}")
    return model.eval()


def load_compressed(directory, packed):
    config = None if packed else transformers.CompressedTensorsConfig(run_compressed=False)
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager",
                                                             **({"quantization_config": config} if config else {})).eval()


def run(program, *args):
    done = subprocess.run([program, *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"hone {args[0]}: {done.stderr.strip()}")
    return done.stdout


def check(args, lib, tally, source, text, target, options):
    title = f"{source.name} {target} {options}"
    with tempfile.TemporaryDirectory() as root:
        out, plain = os.path.join(root, "out"), os.path.join(root, "plain")
        run(args.hone, "quantize", str(source), "-o", out, "--to", target, *options.split(), "--quiet")
        run(args.hone, "convert", out, "-o", plain, "--to", "safetensors", "--type", "f32", "--quiet")
        state, quantized = read_directory(out, target)
        ours = weights_in(plain)
        wrong = [n for n in quantized if not torch.equal(state[n].view(torch.int32), ours[n].view(torch.int32))]
        tally.check(quantized and not wrong, f"{title}: {len(quantized)} weights bit for bit{' but ' if wrong else ''}"
                    f"{' '.join(wrong[:3])}")
        report = json.loads(run(args.hone, "verify", str(source), out, "--text", str(text), "--ctx", str(N_CTX), "--chunks",
                                str(N_CHUNKS), "--quiet", "--json", "-"))
        if target == "compressed-tensors":  # the directory as it is
            model = load_compressed(out, "--symmetric" in options)
        else:
            model = model_with(source, state)
        hone = Hone(lib, source)
        hone.load_tokenizer()
        tokens, bos = hone.encode(text.read_bytes()[:100000])
        hone.close()
        theirs = math.exp(reference_perplexity(model, tokens, bos, N_CTX, N_CHUNKS)[0])
        relative = abs(report["candidate"]["ppl"] / theirs - 1)
        tally.check(relative < PPL_LIMIT, f"{title}: perplexity {report['candidate']['ppl']:.5f}, by transformers "
                    f"{theirs:.5f}, relative difference {relative:.1e}")


def main():
    args = common.arguments(__doc__).parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    lib, tally = load_library(args.lib), common.Tally()
    embedded = common.EMBEDDED / "tiny-llama"
    sources = [(embedded, embedded / "heldout.txt"),
               (args.models / "lit-llama", args.texts / "bronte.txt")]
    for source, text in sources:
        if not source.exists() or not text.exists():
            print(f"SKIP  {source.name}: not there")
            continue
        for target, cases in CASES.items():
            for options in cases:
                try:
                    check(args, lib, tally, source, text, target, options)
                except ImportError as e:
                    print(f"SKIP  {target}: {e}")
                except ValueError as e:
                    tally.check(False, f"{source.name} {target} {options}: {e}")
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
