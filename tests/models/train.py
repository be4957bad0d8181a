# SPDX-License-Identifier: MIT
"""Train one of the tiny test models from scratch.

usage: train.py tiny-llama|tiny-llama-spm|tiny-gpt2|tiny-mixtral --out DIR

Training text comes from generate_text.py; nothing is downloaded.  The data
are the same on every machine; the weights depend in their last bits on the
machine's arithmetic, so a new run gives an equally good but not an identical
model.
"""
import argparse
import io
import json
import math
import os
import time

import generate_text

BOS, EOS, USER, ASSISTANT = "<|begin_of_text|>", "<|end_of_text|>", "<|user|>", "<|assistant|>"
LLAMA3_REGEX = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")

# phases: (sequence length, sequences per step, steps)
RECIPES = {
    "tiny-llama": dict(seed=1, vocab=1024, phases=[(256, 4, 1700), (512, 4, 340)], lr=2.5e-3,
                       heldout_seed=1001, heldout_bytes=188000, chat=True),
    "tiny-llama-spm": dict(seed=2, vocab=1152, phases=[(256, 4, 1300), (512, 4, 200)], lr=4e-3,
                           heldout_seed=1002, heldout_bytes=90000, chat=False),
    "tiny-gpt2": dict(seed=3, vocab=1024, phases=[(256, 4, 1200)], lr=4e-3,
                      heldout_seed=1003, heldout_bytes=80000, chat=False),
    "tiny-mixtral": dict(seed=4, vocab=1024, phases=[(256, 4, 400)], lr=4e-3,
                         heldout_seed=1004, heldout_bytes=90000, chat=False),
}
TOKENIZER_BYTES = 2000000
SPREAD_SEED = 77


def write_json(path, data):
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        json.dump(data, f, ensure_ascii=False, indent=2)
        f.write("\n")


# ---------------------------------------------------------------- tokenizers


class LlamaBPE:
    """Byte-level BPE in the form of Llama 3's tokenizer.json."""

    def __init__(self, text, vocab):
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
        special = [BOS, EOS, USER, ASSISTANT]
        t = Tokenizer(models.BPE(ignore_merges=True))
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(LLAMA3_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        t.decoder = decoders.ByteLevel()
        t.train_from_iterator(text.split("\n\n"), trainers.BpeTrainer(
            vocab_size=vocab - len(special), show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        t.add_special_tokens(special)
        self.bos, self.eos = t.token_to_id(BOS), t.token_to_id(EOS)
        t.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1",
                                          special_tokens=[(BOS, self.bos)])])
        self.size = t.get_vocab_size()
        self.tokenizer = t

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def save(self, out):
        self.tokenizer.save(os.path.join(out, "tokenizer.json"), pretty=False)
        write_json(os.path.join(out, "tokenizer_config.json"), {
            "added_tokens_decoder": {str(self.tokenizer.token_to_id(x)): {
                "content": x, "lstrip": False, "normalized": False, "rstrip": False,
                "single_word": False, "special": True} for x in (BOS, EOS, USER, ASSISTANT)},
            "bos_token": BOS, "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False,
            "eos_token": EOS, "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": 512, "tokenizer_class": "PreTrainedTokenizerFast"})
        write_json(os.path.join(out, "generation_config.json"), {
            "_from_model_config": True, "bos_token_id": self.bos, "eos_token_id": self.eos})


class LlamaSPM:
    """SentencePiece BPE with byte fallback, in the form of Llama 2's tokenizer.model."""

    def __init__(self, text, vocab):
        import sentencepiece as spm
        blob = io.BytesIO()
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(x for x in text.split("\n") if x), model_writer=blob,
            model_type="bpe", vocab_size=vocab, byte_fallback=True, character_coverage=0.995,
            normalization_rule_name="identity", add_dummy_prefix=True, remove_extra_whitespaces=False,
            split_digits=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, num_threads=1,
            input_sentence_size=0, shuffle_input_sentence=False, minloglevel=2)
        self.blob = blob.getvalue()
        self.sp = spm.SentencePieceProcessor(model_proto=self.blob)
        self.bos, self.eos, self.size = self.sp.bos_id(), self.sp.eos_id(), self.sp.get_piece_size()

    def encode(self, text):
        return self.sp.encode(text)

    def save(self, out):
        with open(os.path.join(out, "tokenizer.model"), "wb") as f:
            f.write(self.blob)
        names = {0: "<unk>", 1: "<s>", 2: "</s>"}
        write_json(os.path.join(out, "tokenizer_config.json"), {
            "add_bos_token": True, "add_eos_token": False, "add_prefix_space": True,
            "added_tokens_decoder": {str(i): {
                "content": x, "lstrip": False, "normalized": False, "rstrip": False,
                "single_word": False, "special": True} for i, x in names.items()},
            "bos_token": "<s>", "clean_up_tokenization_spaces": False, "eos_token": "</s>",
            "legacy": False, "model_max_length": 512, "pad_token": None, "sp_model_kwargs": {},
            "tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>"})
        write_json(os.path.join(out, "generation_config.json"), {
            "_from_model_config": True, "bos_token_id": self.bos, "eos_token_id": self.eos})


class GPT2BPE:
    """Byte-level BPE in the form of GPT-2's vocab.json and merges.txt."""

    def __init__(self, text, vocab):
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        t.decoder = decoders.ByteLevel()
        t.train_from_iterator(text.split("\n\n"), trainers.BpeTrainer(
            vocab_size=vocab - 1, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        t.add_special_tokens(["<|endoftext|>"])
        self.bos = self.eos = t.token_to_id("<|endoftext|>")
        self.size = t.get_vocab_size()
        self.tokenizer = t

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def save(self, out):
        model = json.loads(self.tokenizer.to_str())["model"]
        vocab = dict(model["vocab"])
        vocab["<|endoftext|>"] = self.eos
        with open(os.path.join(out, "vocab.json"), "w", encoding="utf-8", newline="\n") as f:
            json.dump(dict(sorted(vocab.items(), key=lambda x: x[1])), f, ensure_ascii=False)
            f.write("\n")
        with open(os.path.join(out, "merges.txt"), "w", encoding="utf-8", newline="\n") as f:
            f.write("#version: 0.2\n")
            for m in model["merges"]:
                f.write((m if isinstance(m, str) else " ".join(m)) + "\n")
        write_json(os.path.join(out, "tokenizer_config.json"), {
            "add_prefix_space": False, "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
            "model_max_length": 256, "tokenizer_class": "GPT2Tokenizer", "unk_token": "<|endoftext|>"})
        write_json(os.path.join(out, "generation_config.json"), {
            "_from_model_config": True, "bos_token_id": self.bos, "eos_token_id": self.eos})


# -------------------------------------------------------------------- models


def build(name, tok):
    from transformers import (GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MixtralConfig,
                              MixtralForCausalLM)
    ids = dict(vocab_size=tok.size, bos_token_id=tok.bos, eos_token_id=tok.eos)
    if name == "tiny-llama":
        return LlamaForCausalLM(LlamaConfig(
            hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, head_dim=64, max_position_embeddings=512, rms_norm_eps=1e-5,
            tie_word_embeddings=False, initializer_range=0.06, **ids))
    if name == "tiny-llama-spm":
        return LlamaForCausalLM(LlamaConfig(
            hidden_size=192, intermediate_size=352, num_hidden_layers=3, num_attention_heads=6,
            num_key_value_heads=2, head_dim=32, max_position_embeddings=512, rms_norm_eps=1e-6,
            tie_word_embeddings=True, initializer_range=0.06, **ids))
    if name == "tiny-mixtral":
        return MixtralForCausalLM(MixtralConfig(
            hidden_size=256, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=64, num_local_experts=4, num_experts_per_tok=2,
            max_position_embeddings=512, rms_norm_eps=1e-5, rope_theta=10000.0, output_router_logits=True,
            tie_word_embeddings=False, initializer_range=0.06, **ids))
    return GPT2LMHeadModel(GPT2Config(
        n_embd=128, n_inner=256, n_layer=4, n_head=4, n_positions=256, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, initializer_range=0.06, **ids))


def spread_channels(model, seed):
    """Give some channels a larger or smaller scale, as large models have.

    A normalization gain (or a row of a value or up projection) is multiplied
    by a power of two and the columns that read it are divided by the same, so
    the function of the model does not change by a single bit, but the blocks of
    the matrices get columns of unequal size.
    """
    import torch
    s = generate_text.Source(seed)

    def draw(n):
        exponents = []
        for _ in range(n):
            u = s.random()
            exponents.append(1 if u < .15 else -1 if u < .30 else 2 if u < .33 else -2 if u < .36 else 0)
        return torch.tensor([2.0 ** e for e in exponents])

    def norm(layer, *readers):
        t = draw(layer.weight.numel())
        layer.weight *= t
        for r in readers:
            r.weight /= t

    c = model.config
    with torch.no_grad():
        if c.model_type == "gpt2":
            for l in model.transformer.h:
                # the matrices of GPT-2 are stored transposed
                for ln, reader in ((l.ln_1, l.attn.c_attn), (l.ln_2, l.mlp.c_fc)):
                    t = draw(c.n_embd)
                    ln.weight *= t
                    ln.bias *= t
                    reader.weight /= t[:, None]
                t = draw(c.n_embd)
                l.attn.c_attn.weight[:, 2 * c.n_embd:] *= t
                l.attn.c_attn.bias[2 * c.n_embd:] *= t
                l.attn.c_proj.weight /= t[:, None]
            return
        group = c.num_attention_heads // c.num_key_value_heads
        for l in model.model.layers:
            a, m = l.self_attn, l.mlp
            norm(l.input_layernorm, a.q_proj, a.k_proj, a.v_proj)
            t = draw(c.num_key_value_heads * c.head_dim)
            a.v_proj.weight *= t[:, None]
            a.o_proj.weight /= t.view(-1, 1, c.head_dim).expand(-1, group, -1).reshape(-1)
            if c.model_type == "mixtral":
                continue
            norm(l.post_attention_layernorm, m.gate_proj, m.up_proj)
            t = draw(c.intermediate_size)
            m.up_proj.weight *= t[:, None]
            m.down_proj.weight /= t
        if not c.tie_word_embeddings:
            norm(model.model.norm, model.lm_head)


def split_experts(tensors):
    """The names and matrices of the files that are about: one matrix for each expert."""
    out = {}
    for k, v in tensors.items():
        k = k.replace(".mlp.gate.", ".block_sparse_moe.gate.")
        stem, found, kind = k.partition(".mlp.experts.")
        if not found:
            out[k] = v
            continue
        for e, matrix in enumerate(v):
            parts = {"w2": matrix} if kind == "down_proj" else dict(zip(("w1", "w3"), matrix.chunk(2)))
            for part, w in parts.items():
                out[f"{stem}.block_sparse_moe.experts.{e}.{part}.weight"] = w.contiguous()
    return out


def save_model(name, model, out):
    """Write config.json and the weights as BF16 safetensors."""
    import torch
    from safetensors.torch import save_file
    model.to(torch.bfloat16)
    spread_channels(model, SPREAD_SEED)
    model.config.architectures = [type(model).__name__]
    config = json.loads(model.config.to_json_string())
    config["dtype"] = "bfloat16"
    if name != "tiny-llama-spm":
        # the layout of config.json before transformers 5
        config["torch_dtype"] = config.pop("dtype")
        rope = config.pop("rope_parameters", None)
        if rope:
            config["rope_theta"] = rope["rope_theta"]
            config["rope_scaling"] = None
    write_json(os.path.join(out, "config.json"), dict(sorted(config.items())))
    tensors = {k: v.contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight")
    if model.config.model_type == "mixtral":
        tensors = split_experts(tensors)
    meta = {"format": "pt"}
    if name != "tiny-llama":
        save_file(tensors, os.path.join(out, "model.safetensors"), metadata=meta)
        return
    shards, weight_map = [{}, {}], {}
    total = sum(v.numel() * 2 for v in tensors.values())
    done = 0
    for k, v in tensors.items():
        which = 0 if done < total // 2 else 1
        done += v.numel() * 2
        shards[which][k] = v
        weight_map[k] = f"model-{which + 1:05d}-of-00002.safetensors"
    for i, shard in enumerate(shards):
        save_file(shard, os.path.join(out, f"model-{i + 1:05d}-of-00002.safetensors"), metadata=meta)
    write_json(os.path.join(out, "model.safetensors.index.json"),
               {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))})


# ------------------------------------------------------------------ training


def documents(tok, seed, chat, count):
    """At least `count` tokens of documents, each between BOS and EOS."""
    s = generate_text.Source(seed)
    ids = []
    while len(ids) < count:
        ids.append(tok.bos)
        if chat and s.chance(.2):
            for role, text in generate_text.chat(s):
                ids.append(tok.tokenizer.token_to_id(f"<|{role}|>"))
                ids += tok.encode(text)
                if role == "assistant":
                    ids.append(tok.eos)
        else:
            ids += tok.encode(generate_text.page(s))
            ids.append(tok.eos)
    return ids


def train(name, model, tok, recipe):
    import torch
    import torch.nn.functional as F
    total = sum(t * b * n for t, b, n in recipe["phases"])
    steps = sum(n for _, _, n in recipe["phases"])
    data = torch.tensor(documents(tok, recipe["seed"], recipe["chat"], total + 1))
    print(f"{name}: {sum(x.numel() for x in model.parameters())} parameters, {total} tokens, {steps} steps",
          flush=True)
    matrices = [x for x in model.parameters() if x.dim() > 1]
    others = [x for x in model.parameters() if x.dim() == 1]
    opt = torch.optim.AdamW([dict(params=matrices, weight_decay=0.01), dict(params=others, weight_decay=0.0)],
                            lr=recipe["lr"], betas=(0.9, 0.98), fused=True)
    pos = step = 0
    start = time.time()
    smooth = None
    model.train()
    for length, batch, count in recipe["phases"]:
        for _ in range(count):
            # every sequence starts with BOS, as it does in use
            x = data[pos:pos + length * batch].view(batch, length)
            pos += length * batch
            x = torch.cat([torch.full((batch, 1), tok.bos), x[:, 1:]], 1)
            warm = min(1.0, (step + 1) / 50)
            lr = recipe["lr"] * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
            for g in opt.param_groups:
                g["lr"] = lr
            out = model(input_ids=x, use_cache=False)
            loss = F.cross_entropy(out.logits[:, :-1].reshape(-1, tok.size), x[:, 1:].reshape(-1))
            if getattr(out, "aux_loss", None) is not None:  # so that every expert is used
                loss = loss + 0.01 * out.aux_loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            opt.zero_grad()
            step += 1
            smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
            if step % 50 == 0 or step == steps:
                print(f"step {step}/{steps} loss {smooth:.4f} lr {lr:.2e} {time.time() - start:.0f} s", flush=True)
    return smooth, time.time() - start


def main():
    ap = argparse.ArgumentParser(description="train a tiny test model")
    ap.add_argument("model", choices=sorted(RECIPES))
    ap.add_argument("--out", required=True)
    ap.add_argument("--scale", type=float, default=1.0, help="multiply the number of steps (for a quick try)")
    ap.add_argument("--threads", type=int, default=2)
    a = ap.parse_args()
    import torch
    torch.set_num_threads(a.threads)
    recipe = dict(RECIPES[a.model])
    recipe["phases"] = [(t, b, max(1, int(n * a.scale))) for t, b, n in recipe["phases"]]
    torch.manual_seed(recipe["seed"])
    os.makedirs(a.out, exist_ok=True)
    kind = {"tiny-llama-spm": LlamaSPM, "tiny-gpt2": GPT2BPE}.get(a.model, LlamaBPE)
    tok = kind(generate_text.generate(recipe["seed"] + 100, TOKENIZER_BYTES), recipe["vocab"])
    tok.save(a.out)
    text = generate_text.generate(recipe["heldout_seed"], recipe["heldout_bytes"])
    with open(os.path.join(a.out, "heldout.txt"), "w", encoding="utf-8", newline="\n") as f:
        f.write(text)
    print(f"tokenizer: {tok.size} tokens, {len(text.encode()) / len(tok.encode(text)):.2f} bytes per token", flush=True)
    model = build(a.model, tok)
    loss, seconds = train(a.model, model, tok, recipe)
    save_model(a.model, model, a.out)
    for f in os.listdir(a.out):
        os.chmod(os.path.join(a.out, f), 0o644)
    print(f"final training loss {loss:.4f}, {seconds:.0f} s")


if __name__ == "__main__":
    main()
