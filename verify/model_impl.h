/* SPDX-License-Identifier: MIT */
/*
 * The inside of a model, and what an architecture family supplies.
 *
 * To add a family: one file with a `const hone_family`, one line in the table of model.c.
 */
#ifndef HONE_MODEL_IMPL_H
#define HONE_MODEL_IMPL_H

#include "hone/verify.h"
#include "verify/observer.h"

typedef struct hone_family hone_family;

struct hone_model {
    const hone_family *family;
    size_t n_vocab, n_layers;
    size_t n_embd;                    /* length of a hidden state */
    size_t n_ctx;                     /* the longest sequence it was trained on */
    size_t n_positions;               /* the longest it can run, where each position has a weight; 0: no limit */
    size_t n_experts, n_experts_used; /* of a mixture: a token is given to n_experts_used of them; 0: it is none */
    hone_weight output;               /* (n_vocab, n_embd) */
    const float *output_bias;         /* (n_vocab), or NULL */
    bool deferred;                    /* matrices are held by hone_model_hold(), not when it is loaded */
    void *body;                       /* the rest, of the family's own type */
};

/*
 * How a GGUF file holds the rows of a matrix, compared with Hugging Face. PAIRED, by whose heads they are cut: a head's
 * rows 0, 1, .. h-1 are stored as 0, h/2, 1, h/2+1, .. so that rotated pairs are neighbours. TRANSPOSED: Hugging Face
 * stores (inputs, outputs).
 */
typedef enum hone_row_order {
    HONE_ROWS_SAME = 0,
    HONE_ROWS_PAIRED_BY_HEAD,
    HONE_ROWS_PAIRED_BY_KV_HEAD,
    HONE_ROWS_TRANSPOSED
} hone_row_order;

/* What a checkpoint calls its tensors. BASE: it was saved without the family's head, so that hf_base is missing from
 * the names that begin with it. */
typedef enum hone_naming { HONE_NAMES_HF, HONE_NAMES_HF_BASE, HONE_NAMES_GGUF } hone_naming;

/* One weight of a family by its place in the model, and what the two namings call it. */
typedef struct hone_weight_role {
    const char *hf, *gguf; /* within a layer, the part after the layer's prefix */
    bool in_layer;
    bool optional;
    hone_row_order order;
} hone_weight_role;

/* A linear layer by the roles of its tensors. */
typedef struct hone_linear_roles {
    size_t weight;
    size_t bias; /* HONE_NO_ROLE: there is none */
    size_t norm; /* whose output it is given; HONE_NO_ROLE: something else */
    bool adds;   /* its output is added to the residual stream */
} hone_linear_roles;

#define HONE_NO_ROLE SIZE_MAX

/* What the configuration alone tells, without loading: enough to pair the weights of two files. */
typedef struct hone_family_shape {
    size_t n_layers, n_heads, n_kv_heads;
    size_t n_embd, head_dim;
    size_t n_positions; /* as in hone_model */
    bool tied;          /* the configuration says that embedding and output are one matrix */
} hone_family_shape;

/* Weights that read the embedding behind a norm. */
typedef struct hone_embedding_reader {
    const hone_weight *weights[3];
    size_t n_weights;
    const float *norm; /* (n_embd) */
    bool centred;      /* the norm takes the mean off first */
} hone_embedding_reader;

enum { HONE_N_EMBEDDING_READERS = 2 };

/* A pass of one sequence through a model: hidden (n, n_embd) is the residual stream, scratch of scratch_nfloats().
 * observer: who sees what the layers' weights are given, or NULL. */
typedef struct hone_pass {
    const hone_context *ctx;
    const hone_model *model;
    size_t n;
    float *hidden, *scratch;
    const hone_observer *observer;
} hone_pass;

struct hone_family {
    const char *const *architectures;  /* as hone_checkpoint_architecture() names them; ends with NULL */
    const char *hf_layer, *gguf_layer; /* what stands before the layer's number: "model.layers.", "blk." */
    const char *hf_base;               /* "transformer.", or NULL where names always begin as they do in roles */
    const char *const *hf_buffers;     /* within a layer, what is stored and no weight; ends with NULL, or is NULL */
    const hone_weight_role *roles;
    size_t n_roles;
    size_t role_embedding, role_output; /* each may stand in for the other where they are tied */
    const hone_linear_roles *linears;   /* every one, the output too; a model need not have all */
    size_t n_linears;
    bool rms_norms;                   /* norms neither take the mean off nor have a bias */
    size_t role_value, role_attn_out; /* matrices that make the heads' values, and read their weighted sums */
    bool fused_values;                /* the values are the last of three equal parts of their matrix' rows */

    /* Reads the configuration alone. */
    hone_status (*shape)(const hone_checkpoint *ckpt, hone_family_shape *out, hone_error *err);
    /* Fills a zeroed model, all but family. What it has filled is released by unload(), on failure too. */
    hone_status (*load)(const hone_context *ctx, const hone_checkpoint *ckpt, hone_model *model, hone_error *err);
    void (*unload)(hone_model *model);
    /* Floats of scratch that forward() needs for sequences up to n; false when that overflows. */
    bool (*scratch_nfloats)(const hone_model *model, size_t n, int n_threads, size_t *nfloats);
    /* A pass in its steps. prepare() fills the part of scratch that all layers read and none changes; embed() makes
     * the stream of tokens (n), all of them in the vocabulary; layer() takes it through layer i; finish() makes of it
     * what output is multiplied with. */
    void (*prepare)(const hone_pass *pass);
    void (*embed)(const hone_pass *pass, const int32_t *tokens);
    void (*layer)(const hone_pass *pass, size_t i);
    void (*finish)(const hone_pass *pass);
    /* The first layer's weights that read the residual stream; returns the embedding. */
    const hone_weight *(*embedding_readers)(const hone_model *model,
                                            hone_embedding_reader readers[HONE_N_EMBEDDING_READERS]);
    /* Matrix i of those that a stage of a pass reads; NULL past the last. See hone_model_matrix(). */
    hone_weight *(*matrix)(hone_model *model, size_t stage, size_t i);
};

/*
 * hone_model_matrix() returns matrix i of a model, in the order in which a pass comes to them; NULL past the last.
 * *stage, if given: the stage of the pass that reads it: 0 embeds, i + 1 is layer i, n_layers + 1 the output.
 */
hone_weight *hone_model_matrix(hone_model *model, size_t i, size_t *stage);

/*
 * hone_model_open() is hone_model_load() but for the matrices, which are read a stage at a time: hone_model_hold()
 * reads those that a stage (see hone_model_matrix()) lacks, hone_model_drop() releases them. One that is not held is
 * zeros to a pass. ckpt must outlive *out. A matrix that is both embedding and output is held for each.
 */
hone_status hone_model_open(const hone_context *ctx, const hone_checkpoint *ckpt, hone_model **out, hone_error *err);
hone_status hone_model_hold(hone_model *model, size_t stage, hone_error *err);
void hone_model_drop(hone_model *model, size_t stage);

/* hone_model_embedding_readers() is the family's, and returns the embedding; NULL if the output is the same matrix. */
const hone_weight *hone_model_embedding_readers(const hone_model *model,
                                                hone_embedding_reader readers[HONE_N_EMBEDDING_READERS]);

extern const hone_family hone_gpt2_family;
extern const hone_family hone_llama_family;

/* Long enough for any name that hone_role_name() makes. */
enum { HONE_ROLE_NAME_CAP = 128 };

/* hone_family_find() returns the family of a checkpoint by its architecture. UNSUPPORTED: none. */
hone_status hone_family_find(const hone_checkpoint *ckpt, const hone_family **out, hone_error *err);

/* hone_checkpoint_is_gguf() tells whether names, row order and configuration are those of GGUF. */
bool hone_checkpoint_is_gguf(const hone_checkpoint *ckpt);

/* hone_family_naming() tells what a checkpoint of the family calls its tensors. */
hone_naming hone_family_naming(const hone_family *family, const hone_checkpoint *ckpt);

/* hone_role_name() writes what a checkpoint of that naming calls a role; layer counts for roles within one. */
void hone_role_name(const hone_family *family, size_t role, size_t layer, hone_naming naming,
                    char name[HONE_ROLE_NAME_CAP]);

/* hone_role_gguf_name() writes what GGUF calls the tensor that a checkpoint of that naming calls stored. false: it is
 * no role of the family. */
bool hone_role_gguf_name(const hone_family *family, hone_naming naming, const char *stored,
                         char name[HONE_ROLE_NAME_CAP]);

/* hone_family_is_buffer() tells whether a Hugging Face tensor is one of the family's hf_buffers. */
bool hone_family_is_buffer(const hone_family *family, const char *name);

/* ---- running ---- */

/* One sequence at a time through a model: the hidden states of the sequence, and scratch sized once. */
typedef struct hone_run {
    const hone_context *ctx;
    const hone_model *model;
    size_t n_max, n;
    float *hidden; /* (n_max, n_embd) */
    float *scratch;
    const hone_observer *observer; /* NULL after hone_run_init(); may be set at any time */
} hone_run;

/*
 * hone_run_init() prepares for sequences of up to n_max tokens. Notes when that is beyond the trained context. ARG:
 * beyond the positions that the model has. NOMEM. On failure *out is empty, which hone_run_deinit() accepts. ctx and
 * model are borrowed.
 */
hone_status hone_run_init(const hone_context *ctx, const hone_model *model, size_t n_max, hone_run *out,
                          hone_error *err);
void hone_run_deinit(hone_run *run);

/* hone_run_sequence() computes the hidden states of tokens (n). ARG: n is 0 or above n_max, or a token is not in the
 * vocabulary; err->offset is its index. */
hone_status hone_run_sequence(hone_run *run, const int32_t *tokens, size_t n, hone_error *err);

/*
 * The same in steps: hone_run_begin(), hone_run_layer() for each layer in order, hone_run_finish(). Between them hidden
 * is the residual stream (n, n_embd); a copy of it may be put back later and the run go on from there after
 * hone_run_resume(), which ARG: n is 0 or above n_max. Logits are not to be computed between steps of one sequence.
 */
hone_status hone_run_begin(hone_run *run, const int32_t *tokens, size_t n, hone_error *err);
hone_status hone_run_resume(hone_run *run, size_t n, hone_error *err);
void hone_run_layer(const hone_run *run, size_t i);
void hone_run_finish(const hone_run *run);

/* hone_run_logits() computes logits (n, n_vocab) of the positions first .. first + n - 1 of the last sequence. */
void hone_run_logits(const hone_run *run, size_t first, size_t n, float *logits);

/* hone_model_slice() returns how many positions' logits to hold at a time: about 32 MiB of them. Depends on the
 * vocabulary alone, for the products' rounding may depend on it. */
size_t hone_model_slice(const hone_model *model);

#endif
