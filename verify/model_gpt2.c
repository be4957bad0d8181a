/* SPDX-License-Identifier: MIT */
/*
 * GPT-2: LayerNorm before each half of a layer, learned positions, one matrix for query, key and value, an MLP with
 * GELU.
 *
 *     x = embedding[tokens] + positions[0 .. n)
 *     for each layer:
 *         q, k, v = QKV · norm(x)
 *         x += O · attend(q, k, v)
 *         x += down · gelu(up · norm(x))
 *     hidden = norm(x)
 *
 * Every norm and matrix but the ends has a bias. Hugging Face stores the layers' matrices transposed, (inputs,
 * outputs).
 */
#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"
#include "formats/sources.h"
#include "verify/family_loader.h"
#include "verify/forward_ops.h"
#include "verify/forward_pass.h"
#include "verify/matmul.h"
#include "verify/model_keys.h"

enum role {
    EMBEDDING,
    POSITIONS,
    OUTPUT_NORM,
    OUTPUT_NORM_BIAS,
    OUTPUT,
    /* each weight of a layer with its bias behind it */
    ATTN_NORM,
    ATTN_NORM_BIAS,
    ATTN_QKV,
    ATTN_QKV_BIAS,
    ATTN_O,
    ATTN_O_BIAS,
    FFN_NORM,
    FFN_NORM_BIAS,
    FFN_UP,
    FFN_UP_BIAS,
    FFN_DOWN,
    FFN_DOWN_BIAS,
    N_ROLES
};

#define GLOBAL .in_layer = false
#define LAYER .in_layer = true
#define TURNED .in_layer = true, .order = HONE_ROWS_TRANSPOSED
/* clang-format off */
static const hone_weight_role roles[N_ROLES] = {
    [EMBEDDING]        = {"transformer.wte.weight", "token_embd.weight", GLOBAL},
    [POSITIONS]        = {"transformer.wpe.weight", "position_embd.weight", GLOBAL},
    [OUTPUT_NORM]      = {"transformer.ln_f.weight", "output_norm.weight", GLOBAL},
    [OUTPUT_NORM_BIAS] = {"transformer.ln_f.bias", "output_norm.bias", GLOBAL},
    [OUTPUT]           = {"lm_head.weight", "output.weight", GLOBAL},
    [ATTN_NORM]        = {"ln_1.weight", "attn_norm.weight", LAYER},
    [ATTN_NORM_BIAS]   = {"ln_1.bias", "attn_norm.bias", LAYER},
    [ATTN_QKV]         = {"attn.c_attn.weight", "attn_qkv.weight", TURNED},
    [ATTN_QKV_BIAS]    = {"attn.c_attn.bias", "attn_qkv.bias", LAYER},
    [ATTN_O]           = {"attn.c_proj.weight", "attn_output.weight", TURNED},
    [ATTN_O_BIAS]      = {"attn.c_proj.bias", "attn_output.bias", LAYER},
    [FFN_NORM]         = {"ln_2.weight", "ffn_norm.weight", LAYER},
    [FFN_NORM_BIAS]    = {"ln_2.bias", "ffn_norm.bias", LAYER},
    [FFN_UP]           = {"mlp.c_fc.weight", "ffn_up.weight", TURNED},
    [FFN_UP_BIAS]      = {"mlp.c_fc.bias", "ffn_up.bias", LAYER},
    [FFN_DOWN]         = {"mlp.c_proj.weight", "ffn_down.weight", TURNED},
    [FFN_DOWN_BIAS]    = {"mlp.c_proj.bias", "ffn_down.bias", LAYER},
};
/* clang-format on */

static const hone_linear_roles linear_roles[] = {
    {ATTN_QKV, ATTN_QKV_BIAS, ATTN_NORM, .adds = false}, {ATTN_O, ATTN_O_BIAS, HONE_NO_ROLE, .adds = true},
    {FFN_UP, FFN_UP_BIAS, FFN_NORM, .adds = false},      {FFN_DOWN, FFN_DOWN_BIAS, HONE_NO_ROLE, .adds = true},
    {OUTPUT, HONE_NO_ROLE, OUTPUT_NORM, .adds = false},
};

struct config {
    size_t n_vocab, n_embd, n_ff, n_layers, n_heads, n_ctx;
    double eps;
    bool exact_gelu;      /* by the error function, else by its tanh approximation */
    bool scaled;          /* attention scores are divided by the root of a head's length, ... */
    bool scaled_by_layer; /* ... and by the layer's number, counted from 1 */
    bool tied;
};

/* A LayerNorm, both (n_embd). */
struct norm {
    float *weight, *bias;
};

struct layer {
    struct norm attn_norm, ffn_norm;
    hone_linear qkv;  /* (3 * n_embd, n_embd): query, key and value */
    hone_linear o;    /* (n_embd, n_embd) */
    hone_linear up;   /* (n_ff, n_embd) */
    hone_linear down; /* (n_embd, n_ff) */
};

/* The body of a hone_model of this family. */
struct gpt2 {
    struct config config;
    hone_weight embedding; /* (n_vocab, n_embd) */
    hone_weight positions; /* (n_ctx, n_embd) */
    struct norm output_norm;
    struct layer *layers;
};

/* ---- configuration ---- */

/* Far above every model there is; they keep the products of two of them inside size_t. */
enum { MAX_LAYERS = 4096, MAX_HEADS = 1 << 16, MAX_VOCAB = 1 << 26, MAX_CTX = 1 << 26 };
enum { MAX_EMBD = HONE_MAX_ROW_NELEMS / 4 }; /* of n_ff = 4 * n_embd */

static hone_status read_json_activation(const json_t *json, struct config *c, hone_error *err)
{
    static const struct {
        const char *name;
        bool exact;
    } known[] = {{"gelu_new", false}, {"gelu_fast", false}, {"gelu_pytorch_tanh", false}, {"gelu", true}};
    const char *act = "gelu_new";
    HONE_TRY(hone_json_string(json, "activation_function", &act, err));
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(act, known[i].name) == 0) {
            c->exact_gelu = known[i].exact;
            return HONE_OK;
        }
    return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "activation_function", "activation \"%s\"", act);
}

static hone_status read_json(const hone_checkpoint *ckpt, struct config *c, hone_error *err)
{
    const json_t *json = hone_checkpoint_config(ckpt);
    if (!json)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "no config.json to run the model by");
    *c = (struct config){.n_ctx = 1024, .eps = 1e-5, .scaled = true, .tied = true};
    HONE_TRY(hone_json_count(json, "vocab_size", HONE_KEY_REQUIRED, MAX_VOCAB, &c->n_vocab, err));
    HONE_TRY(hone_json_count(json, "n_embd", HONE_KEY_REQUIRED, MAX_EMBD, &c->n_embd, err));
    HONE_TRY(hone_json_count(json, "n_layer", HONE_KEY_REQUIRED, MAX_LAYERS, &c->n_layers, err));
    HONE_TRY(hone_json_count(json, "n_head", HONE_KEY_REQUIRED, MAX_HEADS, &c->n_heads, err));
    HONE_TRY(hone_json_count(json, "n_positions", HONE_KEY_OPTIONAL, MAX_CTX, &c->n_ctx, err));
    c->n_ff = 4 * c->n_embd;
    HONE_TRY(hone_json_count(json, "n_inner", HONE_KEY_OPTIONAL, HONE_MAX_ROW_NELEMS, &c->n_ff, err));
    HONE_TRY(hone_json_positive(json, "layer_norm_epsilon", HONE_KEY_OPTIONAL, &c->eps, err));
    HONE_TRY(hone_json_bool(json, "scale_attn_weights", &c->scaled, err));
    HONE_TRY(hone_json_bool(json, "scale_attn_by_inverse_layer_idx", &c->scaled_by_layer, err));
    HONE_TRY(hone_json_bool(json, "tie_word_embeddings", &c->tied, err));
    bool crossed = false;
    HONE_TRY(hone_json_bool(json, "add_cross_attention", &crossed, err));
    if (crossed)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, "add_cross_attention",
                         "attention to another model's states");
    return read_json_activation(json, c, err);
}

/* llama.cpp runs the tanh approximation for this architecture, and scales scores by the head alone. */
static hone_status read_gguf(const hone_checkpoint *ckpt, struct config *c, hone_error *err)
{
    *c = (struct config){.scaled = true, .tied = true};
    HONE_TRY(hone_gguf_vocab_size(ckpt, MAX_VOCAB, &c->n_vocab, err));
    HONE_TRY(hone_gguf_count(ckpt, "embedding_length", HONE_KEY_REQUIRED, MAX_EMBD, &c->n_embd, err));
    HONE_TRY(hone_gguf_count(ckpt, "feed_forward_length", HONE_KEY_REQUIRED, HONE_MAX_ROW_NELEMS, &c->n_ff, err));
    HONE_TRY(hone_gguf_count(ckpt, "block_count", HONE_KEY_REQUIRED, MAX_LAYERS, &c->n_layers, err));
    HONE_TRY(hone_gguf_count(ckpt, "attention.head_count", HONE_KEY_REQUIRED, MAX_HEADS, &c->n_heads, err));
    HONE_TRY(hone_gguf_count(ckpt, "context_length", HONE_KEY_REQUIRED, MAX_CTX, &c->n_ctx, err));
    return hone_gguf_positive(ckpt, "attention.layer_norm_epsilon", HONE_KEY_REQUIRED, &c->eps, err);
}

static hone_status read_config(const hone_checkpoint *ckpt, struct config *c, hone_error *err)
{
    if (hone_checkpoint_is_gguf(ckpt))
        HONE_TRY(read_gguf(ckpt, c, err));
    else
        HONE_TRY(hone_checkpoint_fail_in_config(ckpt, NULL, read_json(ckpt, c, err), err));
    if (c->n_embd % c->n_heads != 0)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, NULL, "%zu columns do not divide into %zu heads",
                         c->n_embd, c->n_heads);
    return HONE_OK;
}

static hone_status shape(const hone_checkpoint *ckpt, hone_family_shape *out, hone_error *err)
{
    struct config c;
    HONE_TRY(read_config(ckpt, &c, err));
    *out = (hone_family_shape){.n_layers = c.n_layers,
                               .n_heads = c.n_heads,
                               .n_kv_heads = c.n_heads,
                               .n_embd = c.n_embd,
                               .head_dim = c.n_embd / c.n_heads,
                               .n_positions = c.n_ctx,
                               .tied = c.tied};
    return HONE_OK;
}

/* ---- weights ---- */

static hone_status load_norm(const hone_family_loader *l, enum role role, size_t i, size_t n_embd, struct norm *out,
                             hone_error *err)
{
    HONE_TRY(hone_family_vector(l, role, i, n_embd, &out->weight, err));
    return hone_family_vector(l, role + 1, i, n_embd, &out->bias, err);
}

static hone_status load_linear(const hone_family_loader *l, enum role role, size_t i, size_t nrows, size_t ncols,
                               hone_linear *out, hone_error *err)
{
    HONE_TRY(hone_family_matrix(l, role, i, nrows, ncols, &out->weight, err));
    return hone_family_vector(l, role + 1, i, nrows, &out->bias, err);
}

static hone_status load_layer(const hone_family_loader *l, const struct config *c, size_t i, struct layer *layer,
                              hone_error *err)
{
    const size_t d = c->n_embd;
    HONE_TRY(load_norm(l, ATTN_NORM, i, d, &layer->attn_norm, err));
    HONE_TRY(load_linear(l, ATTN_QKV, i, 3 * d, d, &layer->qkv, err));
    HONE_TRY(load_linear(l, ATTN_O, i, d, d, &layer->o, err));
    HONE_TRY(load_norm(l, FFN_NORM, i, d, &layer->ffn_norm, err));
    HONE_TRY(load_linear(l, FFN_UP, i, c->n_ff, d, &layer->up, err));
    return load_linear(l, FFN_DOWN, i, d, c->n_ff, &layer->down, err);
}

static hone_status load(const hone_context *ctx, const hone_checkpoint *ckpt, hone_model *model, hone_error *err)
{
    struct gpt2 *body = hone_calloc(1, sizeof *body);
    if (!body)
        return hone_fail_nomem(err, sizeof *body);
    model->body = body;
    struct config *c = &body->config;
    HONE_TRY(read_config(ckpt, c, err));
    model->n_vocab = c->n_vocab;
    model->n_layers = c->n_layers;
    model->n_embd = c->n_embd;
    model->n_ctx = model->n_positions = c->n_ctx;
    body->layers = hone_calloc(c->n_layers, sizeof *body->layers);
    if (!body->layers)
        return hone_fail_nomem(err, c->n_layers * sizeof *body->layers);
    const hone_family *family = model->family;
    const hone_family_loader l = {ctx, ckpt, family, hone_family_naming(family, ckpt)};
    HONE_TRY(hone_family_ends(&l, c->tied, model, &body->embedding, err));
    HONE_TRY(hone_family_matrix(&l, POSITIONS, 0, c->n_ctx, c->n_embd, &body->positions, err));
    for (size_t i = 0; i < c->n_layers; i++)
        HONE_TRY(load_layer(&l, c, i, &body->layers[i], err));
    return load_norm(&l, OUTPUT_NORM, 0, c->n_embd, &body->output_norm, err);
}

static void free_norm(struct norm *norm)
{
    hone_release(norm->weight);
    hone_release(norm->bias);
}

static void unload(hone_model *model)
{
    struct gpt2 *body = model->body;
    if (!body)
        return;
    for (size_t i = 0; body->layers && i < body->config.n_layers; i++) {
        struct layer *layer = &body->layers[i];
        free_norm(&layer->attn_norm);
        free_norm(&layer->ffn_norm);
        hone_linear_deinit(&layer->qkv);
        hone_linear_deinit(&layer->o);
        hone_linear_deinit(&layer->up);
        hone_linear_deinit(&layer->down);
    }
    hone_release(body->layers);
    free_norm(&body->output_norm);
    hone_weight_deinit(&body->positions);
    hone_weight_deinit(&body->embedding);
    hone_weight_deinit(&model->output);
    hone_release(body);
}

/* ---- running ---- */

/* One forward pass: what it works on and its scratch. */
struct pass {
    const hone_context *ctx;
    const struct gpt2 *body;
    const hone_observer *observer;
    size_t n;
    float *x;        /* (n, n_embd) the residual stream */
    float *normed;   /* (n, n_embd) also takes what is added to x */
    float *qkv;      /* (n, 3 * n_embd) */
    float *attended; /* (n, n_embd) */
    float *up;       /* (min(n, HONE_MLP_TILE), n_ff) */
    float *threads;  /* thread_nfloats for each thread */
    size_t thread_nfloats;
};

/* Lays the buffers of a pass out in scratch, or measures them. */
static bool lay_out(struct pass *p, const struct config *c, size_t n, int n_threads, float *base, size_t *nfloats)
{
    const size_t tile = n < HONE_MLP_TILE ? n : HONE_MLP_TILE;
    *nfloats = 0;
    return hone_thread_nfloats(n, &p->thread_nfloats) && hone_carve(base, nfloats, n, c->n_embd, &p->normed) &&
           hone_carve(base, nfloats, n, 3 * c->n_embd, &p->qkv) &&
           hone_carve(base, nfloats, n, c->n_embd, &p->attended) && hone_carve(base, nfloats, tile, c->n_ff, &p->up) &&
           hone_carve(base, nfloats, (size_t)n_threads, p->thread_nfloats, &p->threads);
}

static bool scratch_nfloats(const hone_model *model, size_t n, int n_threads, size_t *nfloats)
{
    const struct gpt2 *body = model->body;
    struct pass p;
    return lay_out(&p, &body->config, n, n_threads, NULL, nfloats);
}

/* arg: the tokens */
static void embed_row(const void *pass, const void *arg, size_t t)
{
    const struct pass *p = pass;
    const int32_t *tokens = arg;
    const size_t d = p->body->config.n_embd;
    float *x = p->x + t * d, *position = p->normed + t * d;
    hone_weight_decode(&p->body->embedding, (size_t)tokens[t], 1, x);
    hone_weight_decode(&p->body->positions, t, 1, position);
    for (size_t i = 0; i < d; i++)
        x[i] += position[i];
}

/* arg: the norm */
static void norm_row(const void *pass, const void *arg, size_t t)
{
    const struct pass *p = pass;
    const struct norm *norm = arg;
    const size_t d = p->body->config.n_embd;
    hone_layernorm(p->x + t * d, norm->weight, norm->bias, d, p->body->config.eps, p->normed + t * d);
}

static void gelu_row(const void *pass, const void *arg, size_t t)
{
    (void)arg;
    const struct pass *p = pass;
    const struct config *c = &p->body->config;
    if (c->exact_gelu)
        hone_gelu(p->up + t * c->n_ff, c->n_ff);
    else
        hone_gelu_tanh(p->up + t * c->n_ff, c->n_ff);
}

static void for_rows(const struct pass *p, size_t n, size_t width, hone_row_fn fn, const void *arg)
{
    hone_for_rows(p->ctx, n, width, fn, p, arg);
}

static void multiply(const struct pass *p, const hone_linear *linear, const float *x, size_t n, float *y)
{
    const hone_weight *const seen[] = {&linear->weight};
    hone_observe(p->observer, seen, 1, x, n);
    hone_matmul(p->ctx, &linear->weight, linear->bias, x, n, y, p->threads);
}

static void attention(const struct pass *p, const struct layer *layer, size_t i)
{
    const struct config *c = &p->body->config;
    const size_t d = c->n_embd, head_dim = d / c->n_heads;
    const double by_head = c->scaled ? 1.0 / sqrt((double)head_dim) : 1.0;
    const hone_heads heads = {
        .q = p->qkv,
        .k = p->qkv + d,
        .v = p->qkv + 2 * d,
        .out = p->attended,
        .n = p->n,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_heads,
        .head_dim = head_dim,
        .query_stride = 3 * d,
        .key_stride = 3 * d,
        .out_stride = d,
        .scale = c->scaled_by_layer ? by_head / (double)(i + 1) : by_head,
        .scratch = p->threads,
        .thread_nfloats = p->thread_nfloats,
    };
    for_rows(p, p->n, d, norm_row, &layer->attn_norm);
    multiply(p, &layer->qkv, p->normed, p->n, p->qkv);
    hone_attend_all(p->ctx, &heads);
    multiply(p, &layer->o, p->attended, p->n, p->normed);
    hone_add_rows(p->ctx, p->x, p->normed, p->n, d);
}

static void mlp(const struct pass *p, const struct layer *layer)
{
    const size_t d = p->body->config.n_embd;
    for_rows(p, p->n, d, norm_row, &layer->ffn_norm);
    for (size_t first = 0; first < p->n; first += HONE_MLP_TILE) {
        const size_t left = p->n - first, tile = left < HONE_MLP_TILE ? left : HONE_MLP_TILE;
        float *normed = p->normed + first * d;
        multiply(p, &layer->up, normed, tile, p->up);
        for_rows(p, tile, 3 * p->body->config.n_ff, gelu_row, NULL);
        multiply(p, &layer->down, p->up, tile, normed); /* the tile's norms are not needed any more */
    }
    hone_add_rows(p->ctx, p->x, p->normed, p->n, d);
}

static struct pass open_pass(const hone_pass *pass)
{
    const struct gpt2 *body = pass->model->body;
    struct pass p = {.ctx = pass->ctx, .body = body, .n = pass->n, .x = pass->hidden, .observer = pass->observer};
    size_t nfloats;
    (void)lay_out(&p, &body->config, p.n, p.ctx->n_threads, pass->scratch, &nfloats); /* measured for at least n */
    return p;
}

/* Nothing is the same for all layers. */
static void prepare(const hone_pass *pass)
{
    (void)pass;
}

static void embed(const hone_pass *pass, const int32_t *tokens)
{
    const struct pass p = open_pass(pass);
    for_rows(&p, p.n, p.body->config.n_embd, embed_row, tokens);
}

static void run_layer(const hone_pass *pass, size_t i)
{
    const struct pass p = open_pass(pass);
    attention(&p, &p.body->layers[i], i);
    mlp(&p, &p.body->layers[i]);
}

static void finish(const hone_pass *pass)
{
    const struct gpt2 *body = pass->model->body;
    const size_t d = body->config.n_embd;
    for (size_t t = 0; t < pass->n; t++) {
        float *x = pass->hidden + t * d;
        hone_layernorm(x, body->output_norm.weight, body->output_norm.bias, d, body->config.eps, x);
    }
}

static const hone_weight *embedding_readers(const hone_model *model,
                                            hone_embedding_reader readers[HONE_N_EMBEDDING_READERS])
{
    const struct gpt2 *body = model->body;
    const struct layer *first = body->layers;
    readers[0] = (hone_embedding_reader){{&first->qkv.weight}, 1, first->attn_norm.weight, true};
    readers[1] = (hone_embedding_reader){{&first->up.weight}, 1, first->ffn_norm.weight, true};
    return &body->embedding;
}

static hone_weight *matrix(hone_model *model, size_t stage, size_t i)
{
    struct gpt2 *body = model->body;
    if (stage == 0)
        return i == 0 ? &body->embedding : i == 1 ? &body->positions : NULL;
    if (stage > model->n_layers)
        return i == 0 ? &model->output : NULL;
    struct layer *layer = &body->layers[stage - 1];
    hone_linear *const linears[] = {&layer->qkv, &layer->o, &layer->up, &layer->down};
    return i < sizeof linears / sizeof linears[0] ? &linears[i]->weight : NULL;
}

/* The causal mask that older exports carry. */
static const char *const buffers[] = {"attn.bias", "attn.masked_bias", NULL};

static const char *const architectures[] = {"GPT2LMHeadModel", "GPT2Model", "gpt2", NULL};

const hone_family hone_gpt2_family = {
    .architectures = architectures,
    .hf_layer = "transformer.h.",
    .gguf_layer = "blk.",
    .hf_base = "transformer.",
    .hf_buffers = buffers,
    .roles = roles,
    .n_roles = N_ROLES,
    .role_embedding = EMBEDDING,
    .role_output = OUTPUT,
    .linears = linear_roles,
    .n_linears = sizeof linear_roles / sizeof linear_roles[0],
    .role_value = ATTN_QKV,
    .role_attn_out = ATTN_O,
    .fused_values = true,
    .shape = shape,
    .load = load,
    .unload = unload,
    .scratch_nfloats = scratch_nfloats,
    .prepare = prepare,
    .embed = embed,
    .layer = run_layer,
    .finish = finish,
    .embedding_readers = embedding_readers,
    .matrix = matrix,
};
