# SPDX-License-Identifier: MIT
"""llama.cpp through its C interface: models, and its quantizer's mixes."""
import ctypes
import math

import gguf
import llama_cpp
import numpy as np

# A reference that lives as long as llama.cpp may call it.
SILENT = llama_cpp.llama_log_callback(lambda *_: None)

# hone's name of a mix: llama.cpp's file type. q2_0 too, but the gguf package does not know it.
MIXES = {
    "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q3_k_s": 11, "q3_k_m": 12, "q3_k_l": 13,
    "q4_k_s": 14, "q4_k_m": 15, "q5_k_s": 16, "q5_k_m": 17, "q6_k": 18, "q2_k_s": 21, "iq4_nl": 25, "iq4_xs": 30,
    "iq3_m": 27, "iq3_s": 26, "iq3_xs": 22, "iq3_xxs": 23, "iq2_m": 29, "iq2_s": 28, "iq2_xs": 20, "iq2_xxs": 19,
    "iq1_m": 31, "iq1_s": 24, "tq1_0": 36, "tq2_0": 37, "mxfp4_moe": 38, "q1_0": 40,
}
NEEDS_IMPORTANCE = {"q2_k_s", "iq3_xs", "iq3_xxs", "iq2_m", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_m", "iq1_s"}
# llama.cpp has no other type for a matrix whose rows are not whole blocks of these: it fails, where hone stores q4_0.
NO_FALLBACK = {"q1_0": 128}


def refuses(path, mix):
    """Whether llama.cpp's quantizer fails for the file's shapes."""
    block = NO_FALLBACK.get(mix)
    return block is not None and any(len(t.shape) > 1 and t.shape[0] % block for t in gguf.GGUFReader(path).tensors)


def start():
    llama_cpp.llama_log_set(SILENT, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()


def quantize(source, out, mix, **params):
    """Returns whether llama.cpp's quantizer took it; params are members of llama_model_quantize_params."""
    p = llama_cpp.llama_model_quantize_default_params()
    p.ftype, p.nthread = MIXES[mix], 2
    for key, value in params.items():
        setattr(p, key, value)
    return llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(p)) == 0


def read_tensors(path):
    return {t.name: (t.tensor_type.name, t.data.tobytes()) for t in gguf.GGUFReader(path).tensors}


class Model:
    """A GGUF file in llama.cpp, through its C interface."""

    def __init__(self, path, n_ctx):
        params = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp does not load {path}")
        cparams = llama_cpp.llama_context_default_params()
        cparams.n_ctx = n_ctx
        cparams.n_batch = cparams.n_ubatch = n_ctx
        cparams.n_threads = cparams.n_threads_batch = 2
        cparams.type_k = cparams.type_v = 0  # f32: measure the weights, not the cache
        cparams.flash_attn_type = 0
        self.ctx = llama_cpp.llama_init_from_model(self.model, cparams)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.n_ctx = n_ctx

    def tokenize(self, text, special=False):
        data = text.encode()
        buf = (llama_cpp.llama_token * (len(data) + 16))()
        n = llama_cpp.llama_tokenize(self.vocab, data, len(data), buf, len(buf), True, special)
        return list(buf[:n])

    def logits(self, tokens):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.ctx), True)
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, t in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = t, i, 1, 1
            batch.seq_id[i][0] = 0
        if llama_cpp.llama_decode(self.ctx, batch) != 0:
            raise RuntimeError("llama_decode failed")
        p = llama_cpp.llama_get_logits(self.ctx)
        out = np.ctypeslib.as_array(p, shape=(len(tokens), self.n_vocab)).astype(np.float64)
        llama_cpp.llama_batch_free(batch)
        return out

    def greedy(self, prompt, n):
        tokens = list(prompt)
        for _ in range(n):
            tokens.append(int(self.logits(tokens)[-1].argmax()))
        return tokens[len(prompt):]

    def perplexity(self, tokens, chunks):
        total, count = 0.0, 0
        add_bos = llama_cpp.llama_vocab_get_add_bos(self.vocab)
        for c in range(min(chunks, len(tokens) // self.n_ctx)):
            chunk = tokens[c * self.n_ctx:(c + 1) * self.n_ctx]
            fed = list(chunk)
            if add_bos:
                fed[0] = llama_cpp.llama_vocab_bos(self.vocab)
            logits = self.logits(fed)
            for i in range(self.n_ctx // 2, self.n_ctx - 1):
                row = logits[i]
                m = row.max()
                total += m + math.log(np.exp(row - m).sum()) - row[chunk[i + 1]]
                count += 1
        return math.exp(total / count), count

    def close(self):
        llama_cpp.llama_free(self.ctx)
        llama_cpp.llama_model_free(self.model)
