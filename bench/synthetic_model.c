/* SPDX-License-Identifier: MIT */
#include "bench/synthetic_model.h"

#include <math.h>
#include <stdio.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/writer.h"
#include "formats/gguf_writer.h"
#include "quantize/encode.h"

/* The proportions of a model of half a billion weights; a small one is narrower, so that it still has layers. */
enum { WIDTH = 1024, FF = 2816, SMALL_WIDTH = 256, SMALL_FF = 768, N_MATRICES = 7, HEAD_DIM = 64, VOCAB = 256 };

struct model {
    const char *path;
    uint64_t width, ff, n_layers, seed;
    hone_gguf_layout layout;
    hone_writer writer;
    hone_encode_fn encode;
    float *rows; /* one of ff elements per thread */
    uint16_t *halves;
};

static uint64_t layer_weights(uint64_t width, uint64_t ff)
{
    return 4 * width * width + 3 * width * ff;
}

static uint64_t next_bits(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* In (0, 1] */
static double next_uniform(uint64_t *state)
{
    return (double)((next_bits(state) >> 11) + 1) * 0x1p-53;
}

/*
 * Polar form: sqrt(-2 ln u) cos(2 pi v) is Gaussian, and with the radius sqrt(n (u^(-2/n) - 1)) Student's t with n
 * degrees of freedom (Bailey 1994), of which the Gaussian is the limit.
 */
void hone_synthetic_row(uint64_t seed, hone_distribution distribution, size_t n, float *out)
{
    const double pi = 3.14159265358979323846, size = 0.02;
    uint64_t state = seed;
    for (size_t i = 0; i < n; i += 2) {
        const double u = next_uniform(&state), angle = 2 * pi * next_uniform(&state);
        const double radius = size * (distribution == HONE_GAUSSIAN ? sqrt(-2 * log(u)) : sqrt(5 * (pow(u, -0.4) - 1)));
        out[i] = (float)(radius * cos(angle));
        out[i + 1] = (float)(radius * sin(angle));
    }
}

static hone_status lay_out(struct model *m, hone_error *err)
{
    hone_gguf_header *h = hone_gguf_new();
    hone_gguf_put_str(h, "general.architecture", "llama");
    hone_gguf_put_u32(h, "llama.context_length", 2048);
    hone_gguf_put_u32(h, "llama.embedding_length", (uint32_t)m->width);
    hone_gguf_put_u32(h, "llama.block_count", (uint32_t)m->n_layers);
    hone_gguf_put_u32(h, "llama.feed_forward_length", (uint32_t)m->ff);
    hone_gguf_put_u32(h, "llama.attention.head_count", (uint32_t)(m->width / HEAD_DIM));
    hone_gguf_put_u32(h, "llama.attention.head_count_kv", (uint32_t)(m->width / HEAD_DIM));
    hone_gguf_put_f32(h, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    hone_gguf_put_u32(h, "llama.rope.dimension_count", HEAD_DIM);
    hone_gguf_put_u32(h, "llama.vocab_size", VOCAB);
    hone_gguf_put_str(h, "tokenizer.ggml.model", "no_vocab");
    const uint64_t vocab[2] = {VOCAB, m->width}, norm[1] = {m->width};
    hone_gguf_add_tensor(h, "token_embd.weight", HONE_F16, 2, vocab);
    hone_gguf_add_tensor(h, "output_norm.weight", HONE_F32, 1, norm);
    const struct {
        const char *name;
        uint64_t shape[2];
    } matrices[N_MATRICES] = {
        {"attn_q", {m->width, m->width}},      {"attn_k", {m->width, m->width}}, {"attn_v", {m->width, m->width}},
        {"attn_output", {m->width, m->width}}, {"ffn_gate", {m->ff, m->width}},  {"ffn_up", {m->ff, m->width}},
        {"ffn_down", {m->width, m->ff}},
    };
    char name[64];
    for (uint64_t layer = 0; layer < m->n_layers; layer++) {
        for (int i = 0; i < N_MATRICES; i++) {
            (void)snprintf(name, sizeof name, "blk.%llu.%s.weight", (unsigned long long)layer, matrices[i].name);
            hone_gguf_add_tensor(h, name, HONE_F16, 2, matrices[i].shape);
        }
        (void)snprintf(name, sizeof name, "blk.%llu.attn_norm.weight", (unsigned long long)layer);
        hone_gguf_add_tensor(h, name, HONE_F32, 1, norm);
        (void)snprintf(name, sizeof name, "blk.%llu.ffn_norm.weight", (unsigned long long)layer);
        hone_gguf_add_tensor(h, name, HONE_F32, 1, norm);
    }
    const hone_status status = hone_gguf_finish(h, HONE_GGUF_ALIGNMENT, &m->layout, err);
    hone_gguf_free(h);
    return status;
}

static hone_status write_tensor(void *user, size_t i, int thread, hone_error *err)
{
    struct model *m = user;
    float *row = m->rows + (size_t)thread * m->ff;
    uint16_t *half = m->halves + (size_t)thread * m->ff;
    const uint64_t nbytes = m->layout.sizes[i];
    if (nbytes == m->width * sizeof *row) { /* a norm: the only tensors of that size */
        for (size_t j = 0; j < m->width; j++)
            row[j] = 1.0f;
        return hone_writer_write(&m->writer, m->layout.offsets[i], row, nbytes, err);
    }
    const size_t n = (size_t)m->width; /* any division into rows will do */
    for (uint64_t at = 0; at < nbytes; at += n * sizeof *half) {
        const uint64_t index = at / (n * sizeof *half);
        hone_synthetic_row(m->seed + (i << 32) + index, index % 2 ? HONE_STUDENT_T5 : HONE_GAUSSIAN, n, row);
        m->encode(row, n, NULL, half);
        HONE_TRY(hone_writer_write(&m->writer, m->layout.offsets[i] + at, half, n * sizeof *half, err));
    }
    return HONE_OK;
}

static hone_status write_file(struct model *m, int n_threads, hone_error *err)
{
    const hone_writer_options how = {.overwrite = true, .restart = true};
    HONE_TRY(hone_writer_open(m->path, m->layout.file_nbytes, how, &m->writer, err));
    hone_status status = hone_writer_reserve(&m->writer, err);
    if (status == HONE_OK)
        status = hone_writer_write(&m->writer, 0, m->layout.bytes, m->layout.nbytes, err);
    if (status == HONE_OK)
        status = hone_parallel_for(m->layout.n_tensors, n_threads, write_tensor, m, err);
    if (status == HONE_OK)
        return hone_writer_commit(&m->writer, err);
    hone_writer_abort(&m->writer);
    return status;
}

hone_status hone_synthetic_model_write(const char *path, uint64_t n_weights, uint64_t seed, int n_threads,
                                       uint64_t *out_weights, hone_error *err)
{
    struct model m = {.path = path, .width = WIDTH, .ff = FF, .seed = seed};
    if (n_weights < 2 * layer_weights(WIDTH, FF)) {
        m.width = SMALL_WIDTH;
        m.ff = SMALL_FF;
    }
    const uint64_t per_layer = layer_weights(m.width, m.ff);
    m.n_layers = n_weights < per_layer ? 1 : (n_weights + per_layer / 2) / per_layer;
    *out_weights = m.n_layers * per_layer + VOCAB * m.width;
    HONE_TRY(lay_out(&m, err));
    m.encode = hone_encoder(HONE_F16, HONE_SEARCH_REFERENCE, hone_cpu_best());
    m.rows = hone_alloc((size_t)n_threads * m.ff, sizeof *m.rows);
    m.halves = hone_alloc((size_t)n_threads * m.ff, sizeof *m.halves);
    const hone_status status =
        m.rows && m.halves ? write_file(&m, n_threads, err) : hone_fail_nomem(err, (size_t)n_threads * m.ff * 6);
    hone_release(m.rows);
    hone_release(m.halves);
    hone_gguf_layout_deinit(&m.layout);
    return status;
}
