# SPDX-License-Identifier: MIT
"""Compares hone's forward pass and perplexity with transformers, with eager attention.

transformers rounds rotary angles to float32, which moves logits by up to 1e-4 at position 500; hone does not. So logits are
compared twice: with transformers in float32 as it comes, and with the same model in float64 with exact angles and norms,
which is what hone has to be close to. It may differ from the former by as much as the former from the latter, no more.
"""
import ctypes
import json
import math
import pathlib
import shutil
import sys
import tempfile

import numpy
import torch
import transformers

import common

LOGITS_LIMIT = 5e-5  # largest absolute difference of a logit from the exact one
FLOAT32_LIMIT = 1e-4  # the same from float32 transformers, beyond its own distance from the exact one
PPL_LIMIT = 1e-5  # relative


class EvalOptions(ctypes.Structure):
    _fields_ = [("n_ctx", ctypes.c_size_t), ("n_chunks", ctypes.c_size_t)]


class Perplexity(ctypes.Structure):
    _fields_ = [("tokens", ctypes.c_uint64), ("scored", ctypes.c_uint64), ("nll", ctypes.c_double),
                ("nll_stderr", ctypes.c_double), ("ppl", ctypes.c_double), ("ppl_stderr", ctypes.c_double),
                ("tokens_per_second", ctypes.c_double)]


class Hone:
    """A model loaded through libhone.so."""

    def __init__(self, lib, path):
        self.lib = lib
        self.context = common.get(lib, lib.hone_context_new, None)
        self.checkpoint = common.open_checkpoint(lib, path)
        self.model = common.get(lib, lib.hone_model_load, self.context, self.checkpoint)
        self.n_vocab = lib.hone_model_n_vocab(self.model)

    def call(self, function, *args):
        common.call(self.lib, function, *args)

    def logits(self, tokens):
        ids = numpy.ascontiguousarray(tokens, dtype=numpy.int32)
        out = numpy.empty((len(ids), self.n_vocab), dtype=numpy.float32)
        self.call(self.lib.hone_model_logits, self.context, self.model, ctypes.c_void_p(ids.ctypes.data),
                  ctypes.c_size_t(len(ids)), ctypes.c_void_p(out.ctypes.data))
        return out

    def load_tokenizer(self):
        self.tokenizer = common.get(self.lib, self.lib.hone_tokenizer_load, self.checkpoint)

    def encode(self, text):
        ids, n = ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
        self.call(self.lib.hone_tokenizer_encode, self.tokenizer, text, ctypes.c_size_t(len(text)), ctypes.c_bool(True),
                  ctypes.c_bool(False), ctypes.byref(ids), ctypes.byref(n))
        tokens = numpy.array(ids[:n.value], dtype=numpy.int64)
        self.lib.hone_tokens_free(ids)
        return tokens, self.lib.hone_tokenizer_bos(self.tokenizer)

    def perplexity(self, text, n_ctx, n_chunks):
        options, out = EvalOptions(n_ctx, n_chunks), Perplexity()
        self.call(self.lib.hone_perplexity, self.context, self.model, self.tokenizer, text, ctypes.c_size_t(len(text)),
                  ctypes.byref(options), ctypes.byref(out))
        return out

    def close(self):
        self.lib.hone_model_free(self.model)
        self.lib.hone_checkpoint_close(self.checkpoint)
        self.lib.hone_context_free(self.context)


def load_library(path):
    lib = common.load_library(path)
    lib.hone_model_n_vocab.restype = ctypes.c_size_t
    lib.hone_tokenizer_bos.restype = ctypes.c_int32
    for name in ("hone_model_free", "hone_context_free", "hone_tokenizer_free"):
        getattr(lib, name).restype = None
    return lib


def reference(path):
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32,
                                                             attn_implementation="eager", experts_implementation="eager").eval()


def reference_logits(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([list(map(int, tokens))])).logits[0].numpy()


class ExactRotary(torch.nn.Module):
    """Rotary angles in float64, from the configuration alone."""

    def __init__(self, config):
        super().__init__()
        rope = config.rope_parameters
        dim = config.head_dim or config.hidden_size // config.num_attention_heads
        frequencies = rope["rope_theta"] ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        if rope["rope_type"] == "linear":
            frequencies /= rope["factor"]
        elif rope["rope_type"] == "llama3":
            low, high = rope["low_freq_factor"], rope["high_freq_factor"]
            fits = rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)
            keep = ((fits - low) / (high - low)).clamp(0, 1)
            frequencies = frequencies * (keep + (1 - keep) / rope["factor"])
        self.frequencies = frequencies

    def forward(self, x, position_ids):
        angles = position_ids[..., None].double() * torch.cat((self.frequencies, self.frequencies))
        return angles.cos(), angles.sin()


class ExactNorm(torch.nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.weight, self.eps = norm.weight, norm.variance_epsilon

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def exact(model):
    """Turns the model into float64, angles and norms included."""
    model = model.double()
    if model.config.model_type == "gpt2":
        for block in model.transformer.h:
            block.attn.reorder_and_upcast_attn = False  # the same in another order, and in float32
        return model
    model.model.rotary_emb = ExactRotary(model.config)
    model.model.norm = ExactNorm(model.model.norm)
    for layer in model.model.layers:
        layer.input_layernorm = ExactNorm(layer.input_layernorm)
        layer.post_attention_layernorm = ExactNorm(layer.post_attention_layernorm)
    return model


def check_logits(tally, lib, name, path, n_tokens, seed=0):
    hone, model = Hone(lib, path), reference(path)
    tokens = numpy.random.default_rng(seed).integers(0, hone.n_vocab, n_tokens)
    ours, float32, ideal = hone.logits(tokens), reference_logits(model, tokens), reference_logits(exact(model), tokens)
    error, theirs, apart = (float(numpy.abs(a - b).max()) for a, b in ((ours, ideal), (float32, ideal), (ours, float32)))
    tally.check(error < LOGITS_LIMIT and apart < theirs + FLOAT32_LIMIT,
                f"{name}: {n_tokens} tokens, logits within {float(numpy.abs(ideal).max()):.1f}, largest error {error:.1e}; "
                f"transformers in float32 has {theirs:.1e}, the two are {apart:.1e} apart")
    hone.close()


# Random configurations: (name, class, config members, members of config.json replaced afterwards).
SMALL = dict(vocab_size=320, hidden_size=64, intermediate_size=112, num_hidden_layers=3, num_attention_heads=8,
             num_key_value_heads=2, max_position_embeddings=128)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
RANDOM = [
    ("plain", "Llama", {}, {}),
    ("attention_bias", "Llama", dict(attention_bias=True), {}),
    ("mlp_bias", "Llama", dict(mlp_bias=True), {}),
    ("head_dim", "Llama", dict(head_dim=24), {}),
    ("one kv head", "Llama", dict(num_key_value_heads=1), {}),
    ("no grouping", "Llama", dict(num_key_value_heads=8), {}),
    ("tied", "Llama", dict(tie_word_embeddings=True), {}),
    ("theta", "Llama", {}, dict(rope_parameters=dict(rope_type="default", rope_theta=500000.0))),
    ("theta, older config", "Llama", {}, dict(rope_parameters=None, rope_theta=500000.0)),
    ("llama3 rope", "Llama", {}, dict(rope_parameters=dict(LLAMA3, rope_theta=10000.0))),
    ("llama3 rope, older config", "Llama", {}, dict(rope_parameters=None, rope_theta=10000.0, rope_scaling=LLAMA3)),
    ("linear rope", "Llama", {}, dict(rope_parameters=None, rope_theta=10000.0,
                                      rope_scaling=dict(type="linear", factor=4.0))),
    ("no optional members", "Llama", dict(num_key_value_heads=8),
     dict.fromkeys(["rope_parameters", "rms_norm_eps", "num_key_value_heads", "head_dim", "tie_word_embeddings",
                    "hidden_act", "attention_bias", "mlp_bias", "max_position_embeddings"])),
    ("Mistral", "Mistral", dict(sliding_window=None), {}),
    ("Mistral, sliding window", "Mistral", dict(sliding_window=40), {}),
    ("Mistral, window of one", "Mistral", dict(sliding_window=1), {}),
    ("Mistral, default heads", "Mistral", dict(num_key_value_heads=8), dict(num_key_value_heads=None)),
]


SMALL_GPT2 = dict(n_embd=64, n_inner=112, n_layer=3, n_head=8, n_positions=160)
RANDOM_GPT2 = [
    ("GPT-2", "GPT2", {}, {}),
    ("GPT-2, no n_inner", "GPT2", dict(n_inner=None), {}),
    ("GPT-2, n_inner not said", "GPT2", dict(n_inner=None), dict(n_inner=None)),
    ("GPT-2, untied", "GPT2", dict(tie_word_embeddings=False), {}),
    ("GPT-2, epsilon", "GPT2", dict(layer_norm_epsilon=0.1), {}),
    ("GPT-2, gelu_fast", "GPT2", dict(activation_function="gelu_fast"), {}),
    ("GPT-2, gelu_pytorch_tanh", "GPT2", dict(activation_function="gelu_pytorch_tanh"), {}),
    ("GPT-2, one head", "GPT2", dict(n_head=1), {}),
    ("GPT-2, no optional members", "GPT2", {}, dict.fromkeys(["layer_norm_epsilon", "activation_function",
     "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "tie_word_embeddings", "add_cross_attention"])),
]
# What a GGUF file cannot say, or not exactly.
RANDOM_GPT2_HF = [
    ("GPT-2, gelu", "GPT2", dict(activation_function="gelu"), {}),
    ("GPT-2, unscaled", "GPT2", dict(scale_attn_weights=False), {}),
    ("GPT-2, scaled by layer", "GPT2", dict(scale_attn_by_inverse_layer_idx=True), {}),
    ("GPT-2, upcast", "GPT2", dict(reorder_and_upcast_attn=True, scale_attn_by_inverse_layer_idx=True), {}),
]


def make_model(directory, kind, members, changes, seed):
    torch.manual_seed(seed)
    gpt2 = kind == "GPT2"
    sizes = dict(SMALL_GPT2, vocab_size=SMALL["vocab_size"]) if gpt2 else SMALL
    config = getattr(transformers, kind + "Config")(**{**sizes, **members})
    model = getattr(transformers, kind + ("LMHeadModel" if gpt2 else "ForCausalLM"))(config).float()
    with torch.no_grad():
        for name, p in model.named_parameters():
            # Large enough that attention is peaked and the logits are spread; norms around one.
            norm = ("norm" in name or "ln_" in name) and name.endswith("weight")
            p.copy_(1 + 0.2 * torch.randn_like(p) if norm else torch.randn_like(p) * 0.15)
        model.get_input_embeddings().weight.mul_(2 if model.config.tie_word_embeddings else 6)
    model.save_pretrained(directory)
    config_path = pathlib.Path(directory) / "config.json"
    json_config = json.loads(config_path.read_text())
    for key, value in changes.items():
        json_config.pop(key, None)
        if value is not None:
            json_config[key] = value
    config_path.write_text(json.dumps(json_config))


def check_random(tally, lib):
    for seed, (name, kind, members, changes) in enumerate(RANDOM + RANDOM_GPT2 + RANDOM_GPT2_HF):
        directory = tempfile.mkdtemp()
        try:
            make_model(directory, kind, members, changes, seed)
            check_logits(tally, lib, name, directory, 150, seed)
        finally:
            shutil.rmtree(directory)


def reference_perplexity(model, tokens, bos, n_ctx, n_chunks):
    """The mean nll and its standard error, as tools/perplexity of llama.cpp defines them."""
    nll = []
    for i in range(n_chunks):
        chunk = tokens[i * n_ctx:(i + 1) * n_ctx]
        fed = chunk.copy()
        if bos >= 0:
            fed[0] = bos
        scored = numpy.arange(n_ctx // 2, n_ctx - 1)
        logits = torch.from_numpy(reference_logits(model, fed)[scored].astype(numpy.float64))
        nll.append(-torch.log_softmax(logits, -1).numpy()[numpy.arange(len(scored)), chunk[scored + 1]])
    nll = numpy.concatenate(nll)
    return nll.mean(), nll.std(ddof=1) / numpy.sqrt(len(nll))


def check_perplexity(tally, lib, name, path, text, n_ctx, n_chunks):
    hone = Hone(lib, path)
    hone.load_tokenizer()
    tokens, bos = hone.encode(text)
    n_chunks = min(n_chunks, len(tokens) // n_ctx)
    ours = hone.perplexity(text, n_ctx, n_chunks)
    mean, error = reference_perplexity(reference(path), tokens, bos, n_ctx, n_chunks)
    ppl = float(numpy.exp(mean))
    relative = abs(ours.ppl / ppl - 1)
    error_relative = abs(ours.nll_stderr / error - 1)
    tally.check(relative < PPL_LIMIT and error_relative < PPL_LIMIT and ours.scored == n_chunks * (n_ctx - 1 - n_ctx // 2),
                f"{name}: perplexity {ours.ppl:.6f} +- {ours.ppl_stderr:.6f} over {n_chunks} chunks of {n_ctx}, "
                f"relative difference {relative:.1e}, of its error {error_relative:.1e}")
    hone.close()


def main():
    args = common.arguments(__doc__).parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    lib, tally = load_library(args.lib), common.Tally()
    models, texts, embedded = args.models, args.texts, common.EMBEDDED

    check_random(tally, lib)
    real = [(models / "story-llama", texts / "tinystories-a.txt", 512),
            (models / "story-llama-bf16", texts / "tinystories-a.txt", 128),
            (models / "lit-llama", texts / "bronte.txt", 256)]
    real += [(path, path / "heldout.txt", 256) for path in sorted(embedded.glob("*llama*"))]
    # No longer sequence than the model has positions.
    real += [(models / "gpt2-tiny", models / "gpt2-tiny" / "data.txt", 64),
             (embedded / "tiny-gpt2", embedded / "tiny-gpt2" / "heldout.txt", 256),
             (embedded / "tiny-mixtral", embedded / "tiny-mixtral" / "heldout.txt", 256)]
    for path, text, n_ctx in real:
        if not (path / "config.json").exists():
            print(f"SKIP  {path.name}: not there")
            continue
        check_logits(tally, lib, path.name, path, n_ctx)
        if not text.exists():
            print(f"SKIP  {text.name}: not there")
        elif not any((path / f).exists() for f in ("tokenizer.json", "tokenizer.model", "vocab.json", "aitextgen-vocab.json")):
            print(f"SKIP  {path.name}: no tokenizer")
        else:
            check_perplexity(tally, lib, path.name, path, text.read_text(encoding="utf-8")[:60000].encode(), n_ctx, 6)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
