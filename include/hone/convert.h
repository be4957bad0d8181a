/* SPDX-License-Identifier: MIT */
/*
 * From a checkpoint to a GGUF file or a directory of safetensors, in one pass.
 *
 * A plan says, before any output byte exists, which tensor of the output comes from which source,
 * transformed how, stored as what and where. Running it streams rows under the context's memory budget.
 */
#ifndef HONE_CONVERT_H
#define HONE_CONVERT_H

#include "hone/calibrate.h"
#include "hone/checkpoint.h"
#include "hone/context.h"
#include "hone/quantize.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hone_plan hone_plan;

/* Types settled tensor by tensor for a size: hone/budget.h. */
typedef struct hone_budget hone_budget;

/* Factors moved between a model's tensors: hone/fold.h. */
typedef struct hone_fold hone_fold;

/* What makes up for the errors of coding: hone/correct.h. */
typedef struct hone_correction hone_correction;

/* REGEX=TYPE: tensors whose output name matches pattern (PCRE2, unanchored) are stored as dtype. */
typedef struct hone_type_rule {
    const char *pattern;
    hone_dtype dtype;
} hone_type_rule;

/* The grid of a group-quantized output. */
typedef struct hone_grid_options {
    unsigned bits;    /* 2, 3, 4, 5, 6, 8; GPTQ 2, 3, 4, 8; AWQ 4 */
    uint32_t group;   /* columns that share a scale: 16, 32, 64, 128, 256, or 0: a whole row; MLX 32, 64, 128 */
    bool symmetric;   /* the zero is the middle code; AWQ and MLX: no */
    hone_dtype scale; /* F16, BF16, F32; INVALID: BF16 if the weights are, else F16; GPTQ and AWQ: F16 */
} hone_grid_options;

/*
 * How codes are chosen once there are scales. GPTQ: each column makes up for what the columns before it left, except in
 * rows that are no better for it. AUTO: GPTQ for the tensors that it leaves less error of, on some of their rows, than
 * plain coding does, if there were tokens enough; making the plan takes longer.
 */
typedef enum hone_method { HONE_METHOD_PLAIN = 0, HONE_METHOD_GPTQ, HONE_METHOD_AUTO } hone_method;

/*
 * The order in which error feedback codes the columns of a row. NATURAL: as they come, the scales of a group chosen
 * when its turn comes. ACTIVATION: by the mean squares of what they are multiplied by, the largest first, with scales
 * chosen for the whole row; for group-quantized outputs. The file tells of neither. BEST: ACTIVATION where there is a
 * choice.
 */
typedef enum hone_order { HONE_ORDER_BEST = 0, HONE_ORDER_NATURAL, HONE_ORDER_ACTIVATION } hone_order;

/* All zero but `type` is a good default. */
typedef struct hone_convert_options {
    /* "auto" (f16; bf16 for a tensor that f16 cannot hold), "f32", "f16", "bf16", a block type such as "q8_0", or
     * a mix such as "q4_k_m". */
    const char *type;
    hone_search search;
    bool pure;                   /* every matrix gets the named type: no per-tensor choice */
    bool saturate;               /* under "f16", clamp values beyond its range instead of refusing them */
    const hone_type_rule *rules; /* the first that matches wins */
    size_t n_rules;
    hone_dtype output_dtype; /* of the output matrix, token_embd's too where they are one; HONE_INVALID: as type says */
    hone_dtype embedding_dtype; /* of token_embd; goes before output_dtype. HONE_INVALID: as type says */
    /*
     * What to write: "gguf" (also when NULL), one file; "safetensors", a directory in the layout of Hugging Face: the
     * source's tensors under their own names, config.json and tokenizer files beside them. Its types are "f32", "f16",
     * "bf16", "auto", or NULL: as stored (blocks of a GGUF file become f32). "compressed-tensors", "gptq", "awq",
     * "mlx": such a directory with linear layers quantized on `grid`, in the layout of these tools; type is not used.
     */
    const char *to;
    hone_grid_options grid;
    /*
     * An importance matrix of llama.cpp, in either of its forms; or NULL. Its entries are found by the names that the
     * weights have in GGUF, and weigh the columns of those that are quantized. Not for "safetensors", nor under the
     * fast search, nor, but for "gguf", under the reference search.
     */
    const char *imatrix;
    /* Of stacked experts one that saw some tokens, but fewer, is coded as if there were no importance: so few say
     * nothing of the others to come; and one that saw fewer while calibrated, none included, without error feedback,
     * which a note says. 0: 64. Not of importance under the reference search. */
    uint32_t min_expert_tokens;
    uint64_t shard_nbytes; /* of tensors in one file of a directory; 0: 5 GB */
    hone_method method;
    hone_order order;
    const char *calibration; /* file of hone_calibrate() with second moments; GPTQ and AUTO need it, or... */
    /* ...text for sequential calibration: tensors are coded in the order of a forward pass, each by the moments of its
     * input behind the quantized matrices before it. Goes before `calibration`. */
    const hone_calibration_text *sequential;
    /*
     * Metadata of GGUF in so little room that the file is no larger than llama-quantize's with an importance matrix:
     * two checksums that tell one damaged tensor (hone.xxh3) in place of one for each; hone.recipe short and with what
     * tells calibration texts, three marks of them; no quantize.imatrix keys.
     */
    bool lean;
    bool correct;                      /* code as is best when biases make up for the mean error: see hone/correct.h */
    const hone_budget *budget;         /* or NULL; it settles types in place of `type`. For "gguf". Outlives the plan */
    const hone_fold *fold;             /* or NULL; that of the source, which it changed. Outlives the plan */
    const hone_correction *correction; /* or NULL. Outlives the plan */
} hone_convert_options;

/* Whether the columns of a tensor are weighed by an importance matrix. */
typedef enum hone_importance {
    HONE_IMPORTANCE_NONE = 0, /* there is none, or the tensor's type has no use for it */
    HONE_IMPORTANCE_USED,
    HONE_IMPORTANCE_MISSING /* it has no entry for this tensor, which is encoded as if there were none */
} hone_importance;

/* One tensor of the output. Strings are borrowed from the plan. */
typedef struct hone_plan_tensor {
    const char *name;
    hone_dtype dtype;
    unsigned n_dims;
    uint64_t shape[HONE_MAX_DIMS]; /* row-major, outermost first */
    const char *file;              /* in the output directory; "" if the output is one file */
    uint64_t offset;               /* in that file */
    uint64_t nbytes;
    const char *source;    /* the source tensor's name; "" for a computed one */
    const char *transform; /* "", "permute", ... */
    const char *why;       /* why it is not of the type asked for; "" when it is */
    uint64_t n_weights;    /* that it stands for: its elements; of codes, the weight's; of scales and zeros none */
    unsigned grid_bits;    /* of codes, scales and zeros on a grid: the bits of a code; else 0 */
    bool has_moments;      /* second moments of its input are known, */
    bool has_feedback;     /* and its columns make up for each other */
    hone_importance importance;
    uint64_t n_zero_columns;      /* of the importance used: columns that only zeros reached */
    uint64_t n_unseen, n_experts; /* of the importance used: experts that nothing reached, each column of which counts
                                   * 1; of how many */
    uint64_t n_few;               /* experts that too few tokens reached for their importance to be used */
} hone_plan_tensor;

typedef struct hone_plan_totals {
    size_t n_tensors;
    uint64_t input_nbytes;   /* tensor data read */
    uint64_t output_nbytes;  /* the whole output, sidecar files excepted */
    uint64_t memory_nbytes;  /* working memory while running; of sequential calibration, all that it takes */
    uint64_t moments_nbytes; /* of it: second moments and error feedback */
    uint64_t changes_nbytes; /* what folding and correction took at their peak, before that */
    uint64_t weights_nbytes; /* of it: weights of the model as sequential calibration holds them */
    uint64_t streams_nbytes; /* of it, or spilled to a temporary file beside the output: residual streams */
    bool streams_spilled;
    double bpw;               /* bits per weight over all tensors */
    size_t n_imatrix_entries; /* of the importance matrix */
    size_t n_imatrix_unknown; /* of them: for weights that are not in the output, or not quantized in a directory */
} hone_plan_totals;

/*
 * hone_plan_new() plans the conversion of src. src must outlive the plan.
 * ARG: unknown type, bad pattern, an importance matrix of another model or none where the type needs one. UNSUPPORTED:
 * architecture, tensor or tokenizer not handled. DATA: a tensor is missing, has the wrong shape, or overflows f16; a
 * value of the importance matrix is NaN, infinite or negative, or an entry has not the length of its tensor. NOMEM: the
 * memory budget is too small for one row.
 */
HONE_API hone_status hone_plan_new(const hone_context *ctx, const hone_checkpoint *src,
                                   const hone_convert_options *opts, hone_plan **out,
                                   hone_error *err) HONE_CHECK_RESULT;

HONE_API void hone_plan_free(hone_plan *plan);

HONE_API hone_plan_totals hone_plan_describe(const hone_plan *plan);

/* hone_plan_seconds() estimates how long coding with error feedback will take, and sequential calibration before it,
 * from a measurement of a tenth of a second. 0: there is none. */
HONE_API double hone_plan_seconds(const hone_context *ctx, const hone_plan *plan);

HONE_API hone_plan_tensor hone_plan_tensor_at(const hone_plan *plan, size_t i);

/*
 * What encoding did to a tensor, or to the weight that a tensor holds the codes of: sums over its elements of the
 * source's values, as they were given to the encoder, and of what the output decodes to. The same whatever the threads,
 * the memory, the CPU, and also after a resumed run.
 *
 *   relative RMSE  sqrt(squared_error / squared_source)
 *   cosine         dot / sqrt(squared_source * squared_output)
 */
typedef struct hone_tensor_error {
    bool measured;   /* false: all is 0. Floats that keep or widen their type, what is not of weights, and in a
                      * directory everything but quantized weights */
    uint64_t nelems; /* of the source */
    double squared_error, squared_source, squared_output, dot;
    /* The block of largest squared error, the first of equals, counted from 0 in the order of rows. A block is what
     * shares a scale; of 32 elements in floats and where a whole row does; at the end of a row maybe fewer. */
    uint64_t worst_block;
    uint32_t worst_nelems;
    double worst_squared_error;
} hone_tensor_error;

/* What may be in the way of an output, and what to tell about it. All zero is careful and silent. */
typedef struct hone_run_options {
    bool overwrite;            /* the output may exist */
    bool restart;              /* discard the partial file of an earlier run instead of resuming it */
    hone_tensor_error *errors; /* one for each tensor of the plan, to be filled in; or NULL */
} hone_run_options;

/*
 * hone_output_check() tells early whether an output file at path has a chance: hone_plan_run() makes the same checks,
 * after a plan that may have taken long. ARG: path exists and may not be overwritten, is a directory, link, pipe or
 * device, or lies in no directory. IO: no permission to write there.
 */
HONE_API hone_status hone_output_check(const char *path, bool overwrite, hone_error *err) HONE_CHECK_RESULT;

/*
 * hone_plan_run() writes the output. Nothing exists under path until it is complete; a directory is complete when it
 * holds its index, or the single file that needs none, and its files get their names together at the end.
 *
 * Work goes to "path.hone-partial", or so named files in the directory, and notes on what is done to a ".hone-journal"
 * beside it. A run that was killed, or stopped by an IO or NOMEM error, leaves them there, and the same plan run again
 * takes up where it stopped, four chunks per thread behind at most; the bytes are those of an undisturbed run. Disk and
 * memory are checked before anything is written. A limit on file sizes raises SIGXFSZ unless the caller ignores that
 * signal; then it is an IO error. ARG: path exists and may not be overwritten, is one of the plan's inputs, or a
 * partial file of other work is in the way. DATA: a NaN or an infinity in a weight (tensor and element index in err),
 * or a source file that was cut short or written to meanwhile. IO, NOMEM. opts may be NULL.
 */
HONE_API hone_status hone_plan_run(const hone_context *ctx, const hone_plan *plan, const char *path,
                                   const hone_run_options *opts, hone_error *err) HONE_CHECK_RESULT;

#ifdef __cplusplus
}
#endif

#endif
