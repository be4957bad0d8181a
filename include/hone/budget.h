/* SPDX-License-Identifier: MIT */
/*
 * Bit allocation: which type each tensor of a GGUF file is to have, so that the file is as near to the original as its
 * size allows, or as small as a divergence allows.
 *
 * What a tensor's error does to the model's predictions is measured: it alone is stored in a small type, and text is
 * run. For the other types that divergence is taken in proportion to their error in the output of the tensor's layer:
 * tr(E H ET) where a calibration file has the second moments H of its input, else the squared error weighed by
 * importance, else the plain one. Divergences of several tensors are added up. That makes them predictions: measure the
 * file that comes out, on other text (hone_verify()).
 */
#ifndef HONE_BUDGET_H
#define HONE_BUDGET_H

#include "hone/convert.h"
#include "hone/verify.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How a tensor's divergence is measured. EXACT: text is run through all layers behind it, which for all tensors takes
 * time in proportion to the square of the layers. FAST: so only in some layers; in the others, text is run through
 * their own and the next, and divergence is taken in proportion to how far that moves the residual stream, at the rate
 * of the same matrix of the layers around; and what is run is stored without error feedback. AUTO: fast where exact
 * would take long, by the multiplications that it needs.
 */
typedef enum hone_budget_probe { HONE_PROBE_AUTO = 0, HONE_PROBE_EXACT, HONE_PROBE_FAST } hone_budget_probe;

enum { HONE_BUDGET_MAX_TYPES = 24 };

/* One of the first three is not zero. */
typedef struct hone_budget_options {
    uint64_t nbytes;          /* the whole file, header and padding included, has at most so many bytes; */
    uint64_t reserved_nbytes; /* of the file, for metadata that comes in after its types are settled */
    double bpw;               /* or the tensors at most so many bits per weight, as hone_plan_totals counts them; */
    double max_kld;           /* or the smallest file of at most so much predicted divergence */
    const char *text;         /* UTF-8, to measure on; not what the result is judged by later */
    size_t text_nbytes;
    size_t n_ctx, n_chunks; /* as in hone_eval_options, but 0 chunks: 4 */
    hone_budget_probe probe;
    const hone_dtype *types; /* n_types that there is a choice of, at most HONE_BUDGET_MAX_TYPES; 0: what every runtime
                              * of GGUF computes with, q2_k to q8_0, and f16 */
    size_t n_types;
    /* What is measured is kept in "JOURNAL.hone-journal", and taken from there when a call that was interrupted is made
     * again, whatever the size then: until hone_budget_forget(). NULL: it is not kept. */
    const char *journal;
    bool restart; /* discard a journal that is there */
} hone_budget_options;

/* hone_budget_eval() returns the chunks of the text that tensors are measured on, to measure the file on them, too. */
HONE_API hone_eval_options hone_budget_eval(const hone_budget_options *budget);

/* What was settled for a tensor. */
typedef struct hone_budget_tensor {
    const char *name; /* in the output; borrowed */
    hone_dtype dtype;
    uint64_t nbytes;
    double kld;        /* predicted, of this type alone */
    hone_dtype probed; /* the type that it was measured in, */
    double probe_kld;  /* and what was measured, to three digits; */
    bool inferred;     /* in part, see HONE_PROBE_FAST */
} hone_budget_tensor;

/* One file that there could be. */
typedef struct hone_budget_point {
    uint64_t nbytes; /* of the whole file */
    double bpw;
    double kld;    /* predicted */
    bool is_exact; /* no choice of types is better by these predictions; else none by more than a part in 1000 or so */
} hone_budget_point;

/*
 * hone_budget_new() measures a model and settles the types. opts as for hone_plan_new(), for GGUF; its type is not
 * used, its rules and types of the ends go before. Give the result to hone_plan_new() in opts.budget, with all else the
 * same. ARG: the budget is below the smallest file there is, or the divergence cannot be had; several budgets or none;
 * a type that cannot be encoded, or is left with none for a tensor: some need importance;
 * a journal of other work is in the way; else as hone_plan_new(), hone_perplexity(). UNSUPPORTED: an architecture that
 * hone_model_load() does not know. The measured model is in memory, beyond the memory budget of ctx.
 */
HONE_API hone_status hone_budget_new(const hone_context *ctx, const hone_checkpoint *src,
                                     const hone_convert_options *opts, const hone_budget_options *budget,
                                     hone_budget **out, hone_error *err) HONE_CHECK_RESULT;
HONE_API void hone_budget_free(hone_budget *budget);

/* hone_budget_forget() removes the journal: the file is made, or will not be. */
HONE_API void hone_budget_forget(hone_budget *budget);

/* The tensors that had a choice. */
HONE_API size_t hone_budget_n(const hone_budget *budget);
HONE_API hone_budget_tensor hone_budget_at(const hone_budget *budget, size_t i);

/* hone_budget_probe_used() is EXACT or FAST. */
HONE_API hone_budget_probe hone_budget_probe_used(const hone_budget *budget);

/* hone_budget_chosen() is what was settled; hone_budget_point_at() other sizes, ascending, for comparison. */
HONE_API hone_budget_point hone_budget_chosen(const hone_budget *budget);
HONE_API size_t hone_budget_n_points(const hone_budget *budget);
HONE_API hone_budget_point hone_budget_point_at(const hone_budget *budget, size_t i);

#ifdef __cplusplus
}
#endif

#endif
