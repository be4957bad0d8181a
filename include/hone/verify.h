/* SPDX-License-Identifier: MIT */
/*
 * What a model file is worth: tokenizing, a reference forward pass, perplexity, divergence, gates.
 *
 * Nothing here shares code with the converter. The forward pass computes in f32 (norms, softmax and all statistics in
 * f64) and reads weights as they are stored, block types included.
 */
#ifndef HONE_VERIFY_H
#define HONE_VERIFY_H

#include "hone/checkpoint.h"
#include "hone/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- tokenizer ---- */

typedef struct hone_tokenizer hone_tokenizer;

/*
 * hone_tokenizer_load() builds the tokenizer a checkpoint carries: tokenizer.json, tokenizer.model, or a GGUF's keys.
 * UNSUPPORTED: another kind of tokenizer. DATA: contradictory tables. ARG: the source has none.
 */
HONE_API hone_status hone_tokenizer_load(const hone_checkpoint *ckpt, hone_tokenizer **out,
                                         hone_error *err) HONE_CHECK_RESULT;
HONE_API void hone_tokenizer_free(hone_tokenizer *tok);

/*
 * hone_tokenizer_encode() turns UTF-8 text into token ids: *ids (hone_tokens_free), *n of them.
 * Special tokens written out in the text become their ids when parse_special is set. BOS or EOS is added when the
 * model wants it and add_special is set. DATA: text is not UTF-8; err->offset is the first bad byte.
 * Thread-safe on one tokenizer.
 */
HONE_API hone_status hone_tokenizer_encode(const hone_tokenizer *tok, const char *text, size_t nbytes, bool add_special,
                                           bool parse_special, int32_t **ids, size_t *n,
                                           hone_error *err) HONE_CHECK_RESULT;
HONE_API void hone_tokens_free(int32_t *ids);

HONE_API size_t hone_tokenizer_n_vocab(const hone_tokenizer *tok);
/* hone_tokenizer_bos() returns the BOS id when the model wants one at the start of a text, else -1. */
HONE_API int32_t hone_tokenizer_bos(const hone_tokenizer *tok);
/* hone_tokenizer_piece() returns the bytes a token stands for in text (a control token: its name). Borrowed. */
HONE_API hone_string hone_tokenizer_piece(const hone_tokenizer *tok, int32_t id);

/* ---- model ---- */

typedef struct hone_model hone_model;

/*
 * hone_model_load() reads the weights into memory, in their stored types.
 * UNSUPPORTED: architecture or option not handled. DATA: tensor missing or misshapen. NOMEM. ckpt must outlive the
 * model.
 */
HONE_API hone_status hone_model_load(const hone_context *ctx, const hone_checkpoint *ckpt, hone_model **out,
                                     hone_error *err) HONE_CHECK_RESULT;
HONE_API void hone_model_free(hone_model *model);
HONE_API size_t hone_model_n_vocab(const hone_model *model);
/* hone_model_n_ctx() returns the context length the model was trained for, in tokens. */
HONE_API size_t hone_model_n_ctx(const hone_model *model);

/* hone_model_logits() runs one sequence: tokens (n) -> logits (n, n_vocab). ARG: a token outside the vocabulary. NOMEM.
 */
HONE_API hone_status hone_model_logits(const hone_context *ctx, const hone_model *model, const int32_t *tokens,
                                       size_t n, float *logits, hone_error *err) HONE_CHECK_RESULT;

/* ---- perplexity and divergence ---- */

/* All zero is a good default. */
typedef struct hone_eval_options {
    size_t n_ctx;    /* tokens per chunk; 0: 512, or fewer where the model has fewer positions */
    size_t n_chunks; /* at most; 0: all */
    bool any_text;   /* hone_verify(): on text that the candidate was calibrated on, too */
    /* hone_verify() alone, or NULL: called with each chunk's mean KLD over its scored positions, in order. Two
     * candidates measured on one text can be compared chunk by chunk, without the text's share of the noise. */
    void (*on_chunk)(void *user, double kld);
    void *user;
} hone_eval_options;

/*
 * Perplexity as llama.cpp's: chunks of n_ctx tokens without overlap, the first token replaced by BOS where the model
 * wants one, positions n_ctx/2 .. n_ctx-2 scored on the token that follows. ppl = exp(nll), its standard error by the
 * delta method from that of nll.
 */
typedef struct hone_perplexity_result {
    uint64_t tokens; /* fed */
    uint64_t scored;
    double nll, nll_stderr; /* nats per token */
    double ppl, ppl_stderr;
    double tokens_per_second;
} hone_perplexity_result;

/* hone_perplexity() evaluates a model on UTF-8 text. ARG: the text gives fewer tokens than one chunk. DATA: not UTF-8.
 */
HONE_API hone_status hone_perplexity(const hone_context *ctx, const hone_model *model, const hone_tokenizer *tok,
                                     const char *text, size_t nbytes, const hone_eval_options *opts,
                                     hone_perplexity_result *out, hone_error *err) HONE_CHECK_RESULT;

/*
 * A candidate measured against a reference on the same tokens. KLD is KL(reference || candidate) per scored position
 * over the whole vocabulary, in nats. top1 is the share of positions where both give the same most probable token.
 * ppl_ratio is candidate / reference, its standard error from the paired differences of nll.
 */
typedef struct hone_divergence {
    hone_perplexity_result reference, candidate;
    uint64_t candidate_nbytes;
    double candidate_bpw;
    double kld_mean, kld_stderr, kld_median, kld_p99, kld_max;
    double top1, top1_stderr;
    double ppl_ratio, ppl_ratio_stderr;
} hone_divergence;

/*
 * hone_verify() runs both models side by side. ARG: the text is too short, or the vocabularies differ (in size, or in
 * how they tokenize the text); or a good part of the text is what the candidate was calibrated on, as the file says
 * (hone.calibration.texts). DATA, NOMEM.
 */
HONE_API hone_status hone_verify(const hone_context *ctx, const hone_checkpoint *reference,
                                 const hone_checkpoint *candidate, const char *text, size_t nbytes,
                                 const hone_eval_options *opts, hone_divergence *out,
                                 hone_error *err) HONE_CHECK_RESULT;

/* ---- per-tensor comparison ---- */

/* One weight of the model as both sides hold it, aligned to the same rows. */
typedef struct hone_tensor_diff {
    const char *name; /* of the candidate's tensor; borrowed */
    const char *reference_name;
    hone_dtype reference_dtype, dtype;
    uint64_t nelems;
    double rmse;          /* root of the mean squared difference */
    double relative_rmse; /* rmse / root mean square of the reference; 0 when both are zero */
    double max_abs;
    uint64_t max_index; /* row-major index of that element in the candidate's tensor */
    double cosine;      /* 1 when both are zero */
} hone_tensor_diff;

typedef struct hone_diff hone_diff;

/*
 * hone_diff_run() compares every weight that both sources hold, and lists those that only one holds. Sources of the
 * same naming are compared name by name, integers and booleans among them, exactly; a Hugging Face checkpoint and a
 * GGUF file of a known architecture through the roles their weights have in the model, the row order undone. name: only
 * that tensor (of the candidate), or NULL. A candidate that hone rotated is compared with the reference rotated alike;
 * otherwise changed weights are not compared, and ctx is noted which of it is the case.
 */
HONE_API hone_status hone_diff_run(const hone_context *ctx, const hone_checkpoint *reference,
                                   const hone_checkpoint *candidate, const char *name, hone_diff **out,
                                   hone_error *err) HONE_CHECK_RESULT;
HONE_API void hone_diff_free(hone_diff *diff);
HONE_API size_t hone_diff_n(const hone_diff *diff);
HONE_API const hone_tensor_diff *hone_diff_at(const hone_diff *diff, size_t i);
/* Names that only the reference (side 0) or only the candidate (side 1) holds; NULL past the end. */
HONE_API const char *hone_diff_unmatched(const hone_diff *diff, int side, size_t i);

/* ---- gates ---- */

/* One gate: METRIC OP NUMBER, such as "kld.mean<0.01". */
typedef struct hone_gate_result {
    char expr[128];
    double value, value_stderr; /* value_stderr is NaN where the metric has none */
    bool pass;
} hone_gate_result;

/*
 * hone_gate_check() parses expr and evaluates it on a result. Metrics are the names of the JSON report (DESIGN):
 * kld.mean, kld.median, kld.p99, kld.max, top1.agreement, ppl_ratio.value, reference.ppl, candidate.ppl, candidate.bpw,
 * candidate.bytes; operators < <= > >=. A NaN never passes. ARG: not of that form; err->offset is the position in expr.
 */
HONE_API hone_status hone_gate_check(const char *expr, const hone_divergence *d, hone_gate_result *out,
                                     hone_error *err) HONE_CHECK_RESULT;

#ifdef __cplusplus
}
#endif

#endif
