# SPDX-License-Identifier: MIT
"""Writes token_ids.json: the ids that the tokenizers and sentencepiece packages give for short texts.

usage: make_token_ids.py > token_ids.json   (with the packages of tests/oracle/run.sh)

"byte-level" is tests/models/tiny-llama's tokenizer.json, once as it is and once for each of the well-known splitting patterns
put in its place; "sentencepiece" is tests/models/tiny-llama-spm's tokenizer.model.
"""
import importlib.metadata
import json
import pathlib
import sys

import sentencepiece
import tokenizers

MODELS = pathlib.Path(__file__).parent.parent / "models"

PATTERNS = {
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama-3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}

TEXTS = [
    "", " ", "   ", "\n", "\n\n \n", "\t\r\n x", "the miller walked home", "  two  spaces  at  ends  ",
    "I'LL say it's what they'd've WE'RE", "1 22 333 4444 55555 1234567", "x² ½ Ⅳ ٣٤", "안녕하세요, 세계! 띄어쓰기없는긴문장도 있다.",
    "ㅋㅋㅋ ㅠㅠ 진짜 꿀잼ㅎㅎ 룡", "각 및 \u1100\u1161\u11a8", "👩\u200d👩\u200d👧 🇰🇷 👍🏽 ❤\ufe0f", "e\u0301 and é and \u212b", "日本語の文 中文字符",
    "ไทย हिन्दी עברית العربية", "\u00a0nbsp\u2003em\u3000wide\u0085next", "\ufeffmark \u200b zero", "ab\x00cd\x7f", "a" * 70,
    "=" * 40 + "\n" + " " * 20 + "end", "def f(x):\n    return x  # ok\n\n\ndone", "https://example.org/?q=1&r=%20#frag",
    "don’t “quote” — and … so", "ſ K İ ı ß ẞ", "\U0001d400\U0010fffd\ufffd", "▁ ▁▁x <0x41> <unk>", "ﬁ ﬂ ① ㈱ ｶﾞ ＡＢ",
]
SPECIAL = ["<|begin_of_text|>hi<|end_of_text|>", " <|user|> 안녕 <|assistant|>ok<|end_of_text|>\n", "<|user|><|user|> <|user", "<s>a</s> b"]


def cases():
    path = MODELS / "tiny-llama" / "tokenizer.json"
    for pattern in [None, *PATTERNS]:
        doc = json.loads(path.read_text())
        if pattern:
            doc["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": PATTERNS[pattern]}
        tok = tokenizers.Tokenizer.from_str(json.dumps(doc))
        for parse in (False, True):
            tok.encode_special_tokens = not parse
            for text in TEXTS + SPECIAL if not parse else SPECIAL:
                yield {"tokenizer": "byte-level", "pattern": pattern, "parse_special": parse, "text": text,
                       "ids": tok.encode(text, add_special_tokens=True).ids}
    sp = sentencepiece.SentencePieceProcessor(model_file=str(MODELS / "tiny-llama-spm" / "tokenizer.model"))
    for text in TEXTS:
        if "\0" not in text:
            yield {"tokenizer": "sentencepiece", "pattern": None, "parse_special": False, "text": text,
                   "ids": [sp.bos_id()] + sp.encode(text)}


version = {name: importlib.metadata.version(name) for name in ("tokenizers", "sentencepiece")}
lines = ",\n".join("  " + json.dumps(case, separators=(",", ":")) for case in cases())
sys.stdout.write('{"made_by": "tests/golden/make_token_ids.py", "with": %s,\n "patterns": %s,\n "cases": [\n%s\n]}\n'
                 % (json.dumps(version), json.dumps(PATTERNS), lines))
