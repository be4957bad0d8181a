# SPDX-License-Identifier: MIT
"""Compare the f32 weights hone makes of quantized checkpoints with what their own tools make of them, bit for bit.

compressed-tensors, MLX and bitsandbytes are the packages themselves (pip install compressed-tensors mlx[cpu]
bitsandbytes; each is skipped when absent). GPTQ, AWQ and FP8 weights are packed here from their published layouts.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import common

F32 = 2  # hone_dtype, include/hone/tensor.h
IN, OUT = 256, 96
NAME = "model.layers.0.mlp.up_proj"


class Hone:
    def __init__(self, path):
        self.lib = common.load_library(path)

    def read(self, path, name, pieces):
        """The tensor, as one array and again glued from random pieces."""
        ckpt = common.open_checkpoint(self.lib, path)
        try:
            tensor = self.lib.hone_checkpoint_find(ckpt, name.encode())
            if not tensor or tensor.contents.dtype != F32:
                raise ValueError("no f32 tensor " + name)
            if self.lib.hone_checkpoint_n_tensors(ckpt) != 2:
                raise ValueError("parts are left in the table")
            shape = tuple(tensor.contents.shape[:tensor.contents.n_dims])
            out = [self.read_pieces(ckpt, tensor, shape, cuts) for cuts in ([0, np.prod(shape)], pieces(np.prod(shape)))]
        finally:
            self.lib.hone_checkpoint_close(ckpt)
        return out

    def read_pieces(self, ckpt, tensor, shape, cuts):
        out = np.full(shape, np.nan, np.float32)
        for begin, end in zip(cuts[:-1], cuts[1:]):
            at = out.ctypes.data + 4 * int(begin)
            common.call(self.lib, self.lib.hone_checkpoint_read, ckpt, tensor, 4 * int(begin), 4 * int(end - begin), at)
        return out


def bit_stream(codes, bits):
    """Rows of codes as rows of u32, dense from the low bit up."""
    planes = (codes[..., None].astype(np.uint32) >> np.arange(bits, dtype=np.uint32)) & 1
    flat = planes.reshape(codes.shape[0], -1)
    flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 32)))
    words = flat.reshape(codes.shape[0], -1, 32).astype(np.uint64) << np.arange(32, dtype=np.uint64)
    return words.sum(-1).astype(np.uint32)


def by_word(codes, bits):
    """Rows of codes as rows of u32, 32 // bits of them to a word."""
    per = 32 // bits
    codes = np.pad(codes, ((0, 0), (0, -codes.shape[1] % per))).reshape(codes.shape[0], -1, per)
    return (codes.astype(np.uint64) << (np.arange(per, dtype=np.uint64) * np.uint64(bits))).sum(-1).astype(np.uint32)


def i32(words):
    return torch.from_numpy(np.ascontiguousarray(words).view(np.int32).copy())


def grid(rng, bits, n_groups, scale_type=torch.float16):
    codes = rng.integers(0, 1 << bits, (OUT, IN))
    zeros = rng.integers(0, 1 << bits, (OUT, n_groups))
    scales = torch.from_numpy((rng.random((OUT, n_groups)) * 0.02 + 1e-3).astype(np.float32)).to(scale_type)
    return codes, zeros, scales


def dequantize(codes, zeros, scales, group_of):
    scales = scales.float().numpy()
    return scales[:, group_of] * (codes - zeros[:, group_of]).astype(np.float32)


def gptq_cases(rng):
    for bits in (2, 3, 4, 8):
        for version in ("gptq", "gptq_v2", None, "gptqmodel"):
            for group, order in ((32, False), (64, True), (-1, False)):
                n_groups = 1 if group < 0 else IN // group
                codes, zeros, scales = grid(rng, bits, n_groups)
                group_of = np.arange(IN) // (IN // n_groups)
                if order:
                    group_of = rng.permutation(group_of)
                if version is None:
                    zeros[:] = 1 << (bits - 1)
                stored = zeros.T if version == "gptq_v2" or (version is None and group == 32) else (zeros.T - 1) % (1 << bits)
                words = bit_stream(stored, bits)
                if version == "gptqmodel" and bits != 3:
                    words = bit_stream(zeros.T, bits) - np.uint32(sum(1 << i for i in range(0, 32, bits)))
                config = {"quant_method": "gptq", "bits": bits, "group_size": group, "sym": version is None}
                if version:
                    config["checkpoint_format"] = version.replace("model", "")
                if version == "gptqmodel":
                    config["meta"] = {"quantizer": ["gptqmodel:5.0.0"]}
                parts = {"qweight": i32(bit_stream(codes, bits).T), "qzeros": i32(words),
                         "scales": scales.T.contiguous()}
                if order or group == 32:
                    parts["g_idx"] = torch.from_numpy(group_of.astype(np.int32))
                yield f"gptq {bits} bits, {version}, group {group}{', reordered' if order else ''}", config, parts, \
                    dequantize(codes, zeros, scales, group_of)


def awq_words(codes):
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    return by_word(codes.reshape(codes.shape[0], -1, 8)[:, :, order].reshape(codes.shape[0], -1), 4)


def awq_cases(rng):
    for group in (32, 128, -1):
        n_groups = 1 if group < 0 else IN // group
        codes, zeros, scales = grid(rng, 4, n_groups)
        config = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm"}
        parts = {"qweight": i32(awq_words(codes.T)), "qzeros": i32(awq_words(zeros.T)), "scales": scales.T.contiguous()}
        yield f"awq group {group}", config, parts, dequantize(codes, zeros, scales, np.arange(IN) // (IN // n_groups))


def scheme(package, bits, kind, strategy, group=None, symmetric=True, block=None, activations=False):
    weights = package.QuantizationArgs(num_bits=bits, type=kind, strategy=strategy, group_size=group,
                                       symmetric=symmetric, block_structure=block)
    inputs = package.QuantizationArgs(num_bits=8, type=kind, dynamic=True) if activations else None
    return package.QuantizationScheme(targets=["Linear"], weights=weights, input_activations=inputs)


def compressed_config(s, layout):
    weights = {k: (v.value if hasattr(v, "value") else v) for k, v in
               {"num_bits": s.weights.num_bits, "type": s.weights.type, "symmetric": s.weights.symmetric,
                "strategy": s.weights.strategy, "group_size": s.weights.group_size,
                "block_structure": s.weights.block_structure}.items()}
    return {"quant_method": "compressed-tensors", "format": layout,
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "format": layout}}}


def compressed_parts(rng, s, scale_shape, zero_points, extra=None):
    rows = torch.from_numpy(rng.standard_normal((OUT, IN)).astype(np.float32)) * 0.1
    # bf16 numbers kept in f32: products are exact, so the package's f32 result is the definition's.
    scale = (torch.from_numpy(rng.random(scale_shape).astype(np.float32)) * 0.02 + 0.01).to(torch.bfloat16).float()
    state = {"weight": rows, "weight_scale": scale, **(extra or {})}
    if zero_points:
        state["weight_zero_point"] = torch.from_numpy(
            rng.integers(-(1 << (s.weights.num_bits - 1)), 1 << (s.weights.num_bits - 1), scale_shape).astype(np.int8))
    return state


def compressed_cases(rng):
    import compressed_tensors.quantization as package
    from compressed_tensors.compressors import BaseCompressor

    def case(title, layout, s, scale_shape, zero_points=False, extra=None, adjust=None):
        compressor = BaseCompressor.get_value_from_registry(layout)
        state = compressed_parts(rng, s, scale_shape, zero_points, extra)
        if adjust:
            adjust(state)
        parts = compressor.compress(state, s)
        expected = compressor.decompress(parts, s)["weight"]
        return f"compressed-tensors {title}", compressed_config(s, layout), parts, expected

    for bits in range(1, 9):
        for symmetric in (True, False):
            s = scheme(package, bits, "int", "group", 64, symmetric)
            yield case(f"{bits} bits, groups, symmetric {symmetric}", "pack-quantized", s, (OUT, IN // 64), not symmetric)
    s = scheme(package, 4, "int", "channel", None, True)
    yield case("4 bits per channel", "pack-quantized", s, (OUT, 1))
    for strategy, shape, block in (("tensor", (1,), None), ("channel", (OUT, 1), None), ("block", (2, 2), [64, 128])):
        s = scheme(package, 8, "float", strategy, None, True, block, activations=True)
        yield case(f"float-quantized per {strategy}", "float-quantized", s, shape)
    s = scheme(package, 8, "int", "channel", None, False, activations=True)
    yield case("int-quantized, asymmetric", "int-quantized", s, (OUT, 1), True)

    def e4m3_scales(state):
        state["weight_scale"] = (state["weight_scale"] * 1000).to(torch.float8_e4m3fn).float()

    def e8m0_scales(state):
        state["weight_scale"] = torch.exp2(torch.randint(-9, -1, state["weight_scale"].shape).float())

    s = scheme(package, 4, "float", "tensor_group", 16)
    s.weights.scale_dtype = torch.float8_e4m3fn
    yield case("nvfp4", "nvfp4-pack-quantized", s, (OUT, IN // 16), False,
               {"weight_global_scale": torch.tensor([1234.5])}, e4m3_scales)
    s = scheme(package, 4, "float", "group", 32)
    s.weights.scale_dtype = torch.uint8
    yield case("mxfp4", "mxfp4-pack-quantized", s, (OUT, IN // 32), False, None, e8m0_scales)
    s = scheme(package, 8, "float", "group", 32)
    s.weights.scale_dtype = torch.uint8
    yield case("mxfp8", "mxfp8-quantized", s, (OUT, IN // 32), False, None, e8m0_scales)


def old_compressed_cases(rng):
    """The packing before mid-2026, reordered columns and ragged rows, none of which the package makes any more."""
    for bits in (3, 5, 6, 7):
        codes, zeros, scales = grid(rng, bits, 4, torch.bfloat16)
        shape = torch.tensor([OUT, IN])
        group_of = rng.permutation(np.arange(IN) // 64)
        config = {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"g": {
            "weights": {"num_bits": bits, "type": "int", "symmetric": False, "strategy": "group", "group_size": 64}}}}
        parts = {"weight_packed": i32(by_word(codes, bits)), "weight_scale": scales, "weight_shape": shape,
                 "weight_zero_point": i32(by_word(zeros.T, bits).T),
                 "weight_g_idx": torch.from_numpy(group_of.astype(np.int32))}
        yield f"compressed-tensors {bits} bits by word, reordered", config, parts, dequantize(codes, zeros, scales, group_of)


def mlx_cases(rng):
    import mlx.core as mx
    rows = (rng.standard_normal((OUT, IN)) * 0.1).astype(np.float32)
    to_torch = lambda a: torch.from_numpy(np.array(a.astype(mx.float32))).to(torch.bfloat16)
    for bits in (2, 3, 4, 5, 6, 8):
        for group in (32, 64, 128):
            codes, scales, biases = mx.quantize(mx.array(rows).astype(mx.bfloat16), group_size=group, bits=bits)
            expected = np.array(mx.dequantize(codes, scales.astype(mx.float32), biases.astype(mx.float32), group, bits))
            parts = {"weight": torch.from_numpy(np.array(codes)), "scales": to_torch(scales), "biases": to_torch(biases)}
            config = {"group_size": group, "bits": bits}
            if bits == 6:  # a layer with figures of its own
                config = {"group_size": 64, "bits": 4, "mode": "affine", NAME: config}
            yield f"mlx affine {bits} bits, group {group}", config, parts, expected
    for mode, bits, group in (("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)):
        codes, scales = mx.quantize(mx.array(rows), group_size=group, bits=bits, mode=mode)
        expected = np.array(mx.dequantize(codes, scales, group_size=group, bits=bits, mode=mode).astype(mx.float32))
        parts = {"weight": torch.from_numpy(np.array(codes)), "scales": torch.from_numpy(np.array(scales))}
        yield f"mlx {mode}", {"group_size": group, "bits": bits, "mode": mode}, parts, expected


def bnb_cases(rng):
    import bitsandbytes.functional as bnb
    rows = torch.from_numpy((rng.standard_normal((OUT, IN)) * 0.1).astype(np.float32))
    for kind in ("nf4", "fp4"):
        for nested in (False, True):
            for block in (64, 128):
                codes, state = bnb.quantize_4bit(rows, blocksize=block, quant_type=kind, compress_statistics=nested)
                parts = {"weight": codes}
                parts.update({"weight." + k: v for k, v in state.as_dict(packed=True).items()})
                yield f"bitsandbytes {kind}, block {block}{', nested' if nested else ''}", \
                    {"quant_method": "bitsandbytes", "load_in_4bit": True}, parts, bnb.dequantize_4bit(codes, state)
    scb = rows.abs().amax(1)
    codes = torch.round(rows * (127 / scb[:, None])).to(torch.int8)
    parts = {"weight": codes, "SCB": scb, "weight_format": torch.tensor(0, dtype=torch.uint8)}
    yield "bitsandbytes int8", {"quant_method": "bitsandbytes", "load_in_8bit": True}, parts, \
        bnb.int8_vectorwise_dequant(codes, scb)


def fp8_cases(rng):
    rows = torch.from_numpy(rng.standard_normal((OUT, IN)).astype(np.float32) * 30).to(torch.float8_e4m3fn)
    for title, shape, block in (("blocks 128x128", (1, 2), [128, 128]), ("blocks 40x48", (3, 6), [40, 48]),
                                ("per tensor", (), None)):
        scale = torch.from_numpy(np.asarray(rng.random(shape) * 0.01 + 1e-3, np.float32))
        spread = scale.reshape(1, 1) if block is None else scale
        spread = spread.repeat_interleave(block[0] if block else OUT, 0)[:OUT]
        spread = spread.repeat_interleave(block[1] if block else IN, 1)[:, :IN]
        config = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": block}
        yield f"fp8 {title}", config, {"weight": rows, "weight_scale_inv": scale}, rows.float() * spread
    scale = torch.from_numpy(rng.random((OUT, 1)).astype(np.float32))
    yield "fbgemm_fp8", {"quant_method": "fbgemm_fp8"}, {"weight": rows, "weight_scale": scale}, rows.float() * scale
    codes = rng.integers(0, 16, (OUT, IN))
    values = np.array([0, .5, 1, 1.5, 2, 3, 4, 6], np.float32)
    values = np.concatenate([values, -values])
    scale = torch.from_numpy(rng.random((OUT, IN // 16)).astype(np.float32) * 100).to(torch.float8_e4m3fn)
    second = torch.tensor(0.00123)
    expected = values[codes] * (scale.float() * second).repeat_interleave(16, 1).numpy()
    parts = {"weight": torch.from_numpy((codes[:, ::2] | codes[:, 1::2] << 4).astype(np.uint8)), "weight_scale": scale,
             "weight_scale_2": second, "input_scale": torch.tensor(0.5)}
    yield "modelopt nvfp4", {"quant_method": "modelopt", "quant_algo": "NVFP4"}, parts, expected


def write_checkpoint(path, config, parts):
    key = "quantization" if "quant_method" not in config else "quantization_config"
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"architectures": ["LlamaForCausalLM"], key: config}, f)
    tensors = {f"{NAME}.{k}": v.contiguous() for k, v in parts.items() if isinstance(v, torch.Tensor)}
    tensors["model.norm.weight"] = torch.ones(4)
    save_file(tensors, os.path.join(path, "model.safetensors"))


def check(hone, rng, config, parts, expected):
    """What is wrong, or None."""
    expected = expected if isinstance(expected, np.ndarray) else expected.float().numpy() \
        if expected.dtype != torch.bfloat16 else expected
    with tempfile.TemporaryDirectory() as path:
        write_checkpoint(path, config, parts)
        pieces = lambda n: np.unique(np.concatenate([[0, n], rng.integers(0, n, 9)]))
        try:
            for got in hone.read(path, NAME + ".weight", pieces):
                if isinstance(expected, torch.Tensor):  # the tool rounds its result to bf16
                    same = torch.equal(torch.from_numpy(got).to(torch.bfloat16), expected)
                else:
                    same = got.shape == expected.shape and np.array_equal(got, expected.astype(np.float32))
                if not same:
                    raise ValueError(f"{np.sum(got != np.asarray(expected.float() if isinstance(expected, torch.Tensor) else expected))} of {got.size} differ")
        except (ValueError, common.HoneError) as e:
            return str(e)
    return None


def quantize_rows(rows, group):
    """4-bit codes, zeros and f16 scales of a weight [out, in], rounded to nearest; and the f32 weight they stand for."""
    parts = rows.reshape(rows.shape[0], -1, group)
    low, high = np.minimum(parts.min(-1), 0), np.maximum(parts.max(-1), 0)
    scales = torch.from_numpy(((high - low) / 15 + 1e-8).astype(np.float32)).half()
    step = scales.float().numpy()
    zeros = np.clip(np.rint(-low / step), 0, 15).astype(np.int64)
    codes = np.clip(np.rint(parts / step[..., None]) + zeros[..., None], 0, 15).astype(np.int64).reshape(rows.shape)
    return codes, zeros, scales, dequantize(codes, zeros, scales, np.arange(rows.shape[1]) // group)


def pack_gptq(rows, group):
    codes, zeros, scales, exact = quantize_rows(rows, group)
    return {"qweight": i32(bit_stream(codes, 4).T), "qzeros": i32(bit_stream((zeros.T - 1) % 16, 4)),
            "scales": scales.T.contiguous()}, exact


def pack_awq(rows, group):
    codes, zeros, scales, exact = quantize_rows(rows, group)
    return {"qweight": i32(awq_words(codes.T)), "qzeros": i32(awq_words(zeros.T)), "scales": scales.T.contiguous()}, exact


def pack_compressed(rows, group):
    codes, zeros, scales, exact = quantize_rows(rows, group)
    return {"weight_packed": i32(bit_stream(codes, 4)), "weight_scale": scales, "weight_shape": torch.tensor(rows.shape),
            "weight_zero_point": i32(bit_stream(zeros.T, 4).T)}, exact


def pack_fp8(rows, group):
    blocks = rows.reshape(rows.shape[0] // group, group, -1, group)
    scale = (np.abs(blocks).max((1, 3)) / 448).astype(np.float32)
    spread = scale.repeat(group, 0).repeat(group, 1)
    codes = torch.from_numpy(rows / spread).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_scale_inv": torch.from_numpy(scale)}, codes.float().numpy() * spread


WHOLE = {"gptq": (pack_gptq, {"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq"}),
         "awq": (pack_awq, {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"}),
         "compressed-tensors": (pack_compressed, {
             "quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"g": {"weights": {
                 "num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": 32}}}}),
         "fp8": (pack_fp8, {"quant_method": "fp8", "weight_block_size": [32, 32]})}


def check_whole_model(program, name, source):
    """A model quantized, and its twin of the f32 weights that it stands for: every command must find them the same."""
    pack, config = WHOLE[name]
    with tempfile.TemporaryDirectory() as root:
        twin, quantized = os.path.join(root, "a", "model"), os.path.join(root, "b", "model")
        shutil.copytree(source, twin)
        shutil.copytree(source, quantized)
        for shard in sorted(f for f in os.listdir(source) if f.endswith(".safetensors")):
            plain, packed = {}, {}
            for key, tensor in load_file(os.path.join(source, shard)).items():
                plain[key] = packed[key] = tensor
                if key.endswith("_proj.weight"):
                    parts, exact = pack(tensor.float().numpy(), 32)
                    plain[key] = torch.from_numpy(np.ascontiguousarray(exact))
                    del packed[key]
                    packed.update({key[:-len("weight")] + k: v.contiguous() for k, v in parts.items()})
            save_file(plain, os.path.join(twin, shard))
            save_file(packed, os.path.join(quantized, shard))
            index = os.path.join(quantized, "model.safetensors.index.json")
            text = json.load(open(index, encoding="utf-8"))
            text["weight_map"] = {k: f for k, f in text["weight_map"].items() if f != shard} | {k: shard for k in packed}
            json.dump(text, open(index, "w", encoding="utf-8"))
        path = os.path.join(quantized, "config.json")
        text = json.load(open(path, encoding="utf-8"))
        json.dump(text | {"quantization_config": config}, open(path, "w", encoding="utf-8"))
        run = lambda *args: subprocess.run([program, *args], capture_output=True, text=True, check=False)
        outputs = []
        for side in (twin, quantized):
            out = os.path.join(os.path.dirname(side), "out.gguf")
            done = run("convert", side, "-o", out, "--type", "f32")
            if done.returncode:
                return done.stderr
            outputs.append(open(out, "rb").read())
        if outputs[0] != outputs[1]:
            return "convert writes other bytes"
        done = run("diff", twin, quantized, "--json", "-")
        report = json.loads(done.stdout) if done.returncode == 0 else {}
        if not report.get("tensors") or any(t["rmse"] for t in report["tensors"]):
            return f"diff: {done.stderr or done.stdout[:300]}"
        done = run("verify", twin, quantized, "--text", os.path.join(source, "heldout.txt"), "--chunks", "1", "--gate",
                   "kld.max<=0")
        if done.returncode:
            return f"verify: {done.stderr}{done.stdout[-300:]}"
        return None if run("inspect", quantized).returncode == 0 else "inspect"


def main():
    args = common.arguments(__doc__).parse_args()
    hone, rng, tally = Hone(args.lib), np.random.default_rng(1), common.Tally()
    torch.manual_seed(1)
    for cases in (gptq_cases, awq_cases, compressed_cases, old_compressed_cases, mlx_cases, bnb_cases, fp8_cases):
        try:
            for case in cases(rng):
                tally.report(case[0], check(hone, rng, *case[1:]))
        except ImportError as e:
            print(f"SKIP {cases.__name__}: {e}")
    for name in WHOLE:
        tally.report(f"{name}, a whole model", check_whole_model(args.hone, name, common.EMBEDDED / "tiny-llama"))
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
