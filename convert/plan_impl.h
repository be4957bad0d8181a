/* SPDX-License-Identifier: MIT */
/*
 * The inside of a plan, and what an architecture family adds to it.
 *
 * A family reads the checkpoint's configuration, writes the output's metadata, and adds one planned tensor for each
 * tensor of the output: where it comes from and what happens to its rows. Types, offsets and sizes are settled
 * afterwards, for all families alike, in plan.c.
 */
#ifndef HONE_PLAN_IMPL_H
#define HONE_PLAN_IMPL_H

#include "base/arena.h"
#include "base/run_context.h"
#include "formats/gguf_writer.h"
#include "hone/convert.h"
#include "quantize/group_grid.h"
#include "quantize/mix.h"

/* In which order the rows of the source appear in the output. */
typedef enum hone_row_order {
    HONE_ROWS_AS_STORED = 0,
    /*
     * Within each head of 2 h rows, source row j * h + i becomes output row 2 * i + j (i < h, j < 2): rotary pairs (i,
     * i + h) of the Hugging Face layout become neighbours (2 i, 2 i + 1), as GGUF's "llama" wants them.
     */
    HONE_ROWS_INTERLEAVE_HALVES,
    /* The source is (in, out), the output (out, in): GPT-2's Conv1D. */
    HONE_ROWS_TRANSPOSE
} hone_row_order;

typedef struct hone_planned_tensor {
    const char *name;          /* in the output; arena */
    const hone_tensor *source; /* NULL: the values are in constant */
    const float *constant;     /* arena */
    const void *bytes;         /* not NULL: its elements as they are stored, and there is no source; arena */
    size_t weight;             /* not 0: a part of plan->weights[weight - 1], whose codes stand for all parts */
    unsigned part;             /* hone_grid_part */
    hone_row_order order;
    uint32_t n_heads; /* of INTERLEAVE_HALVES */
    bool keep_f32;    /* always stored as F32 */
    bool any_value;   /* NaN and infinities are carried over, integers copied */
    /* settled by plan.c */
    hone_role role;
    unsigned layer;
    hone_dtype dtype;
    unsigned n_dims;
    uint64_t shape[HONE_MAX_DIMS];
    uint64_t n_rows, row_nelems, row_nbytes;
    size_t file;             /* in plan->files */
    uint64_t offset, nbytes; /* in that file */
    const char *why;         /* static, "" if of the type asked for */
    bool ruled;              /* a rule of the caller's (hone_type_rule) settled its type */
    hone_importance importance;
    const struct hone_imatrix_entry *entry; /* the importance of its columns, if USED; else NULL */
    const char *gguf_name;                  /* of codes on a grid, by hone_plan_name_codes(); else NULL; arena */
    const char *stack_name;          /* the same of an expert, whose stack would be called so; else NULL; arena */
    uint64_t expert;                 /* which of it */
    const hone_tensor *gram;         /* in plan->calibration, or plan->inputs: second moments of its input; or NULL */
    const hone_tensor *moments;      /* the same, and it is coded by them; or NULL */
    const hone_tensor *expert_grams; /* the same of each expert of a stack, coded by them: in plan->inputs, of the
                                      * first, behind which the others' follow; or NULL */
    const float *input_means;        /* (row_nelems) what its bias makes up for; or NULL; arena */
    float n_tokens;                  /* that they were summed over */
    const float *addend;      /* (n_rows, row_nelems) added to what is read; NULL: 0; borrowed from a hone_correction */
    const float *input_scale; /* (row_nelems) by which its columns were multiplied, and what calibration saw of its
                               * input is to be divided; NULL: 1; borrowed from a hone_fold */
} hone_planned_tensor;

/* One file of the output. The last of a plan is the one whose presence says that the output is complete. */
typedef struct hone_output_file {
    const char *name; /* in the output directory; NULL: the output is this file; arena */
    uint8_t *header;  /* its first bytes, complete but for the checksums; hone_release() */
    size_t header_nbytes;
    bool joint_sums;                    /* of GGUF: few words at checksums_at for all, see checksum.h */
    size_t checksums_at, header_sum_at; /* positions in header */
    uint64_t nbytes;                    /* of the whole file */
    size_t first_tensor, n_tensors;     /* in plan->tensors */
} hone_output_file;

typedef struct hone_target hone_target;

struct hone_plan {
    const hone_checkpoint *src;
    const hone_target *target;
    hone_arena arena;
    hone_gguf_header *header; /* of a GGUF file; else NULL */
    hone_planned_tensor *tensors;
    size_t n_tensors, cap_tensors;
    hone_mix_model model; /* filled by the family */
    uint32_t n_vocab;     /* rows of the embedding; filled by the family */
    hone_search search;
    struct hone_imatrix *imatrix; /* or NULL */
    float min_expert_tokens;      /* experts that saw fewer are coded without importance */
    size_t n_known_entries;       /* of it: for weights of the output */
    /* settled by plan.c */
    hone_output_file *files;
    size_t n_files, cap_files;
    struct hone_sidecar *sidecars; /* of a directory */
    size_t n_sidecars, cap_sidecars;
    struct hone_grid_weight *weights; /* group-quantized ones */
    size_t n_weights, cap_weights;
    hone_grid grid;
    uint32_t grid_group; /* 0: a whole row */
    uint64_t input_nbytes;
    size_t chunk_nelems; /* rows are worked on in chunks of about this many elements */
    int n_threads;
    int n_slots; /* chunks in memory at a time, at least one for each thread */
    uint64_t memory_nbytes;
    bool saturate;
    bool lean;          /* metadata in little room */
    uint64_t recipe_id; /* a hash of all that the recipe would tell otherwise */
    hone_method method;
    bool by_activation;                 /* columns are coded in the order of their mean squares */
    bool corrects;                      /* biases and norms will make up for what coding does */
    hone_checkpoint *calibration;       /* or NULL */
    struct hone_sequential *sequential; /* or NULL: moments are computed while the plan runs, */
    hone_tensor *inputs;                /* and stand for those of its inputs; arena */
    bool turns_moments;                 /* they are of the model before src's weights were changed */
    uint64_t moments_nbytes, thread_moments_nbytes;
    uint64_t changes_nbytes;                                     /* what folding or correction took before */
    uint64_t weights_nbytes, streams_nbytes, streams_max_nbytes; /* of sequential; how much of streams in memory */
};

/* hone_plan_add() adds a tensor named by the printf-style name. t->name is ignored. */
hone_status hone_plan_add(hone_plan *plan, hone_planned_tensor t, hone_error *err, const char *name, ...)
    HONE_PRINTF(4, 5);

/* hone_plan_source() finds a source tensor by a printf-style name. DATA if it is missing and required; else *out NULL.
 */
hone_status hone_plan_source(const hone_plan *plan, bool required, const hone_tensor **out, hone_error *err,
                             const char *name, ...) HONE_PRINTF(5, 6);

/* hone_plan_check_shape() compares with (rows, cols), or (rows) if cols is 0. DATA: another shape. */
hone_status hone_plan_check_shape(const hone_tensor *t, uint64_t rows, uint64_t cols, hone_error *err);
/* hone_plan_check_stack() compares with n matrices (n, rows, cols). DATA: another shape. */
hone_status hone_plan_check_stack(const hone_tensor *t, uint64_t n, uint64_t rows, uint64_t cols, hone_error *err);

/*
 * hone_plan_check_all_used() makes sure that nothing is dropped in silence: every tensor of the source is in the plan,
 * or is_derived. UNSUPPORTED: one is not.
 */
hone_status hone_plan_check_all_used(const hone_plan *plan, bool tied,
                                     bool (*is_derived)(const hone_tensor *t, bool tied), hone_error *err);

/*
 * hone_plan_check_tie() clears *tied, and says so, when the source stores both matrices and they differ: as in
 * transformers, such a configuration is wrong and the file right. Reads both. IO, NOMEM.
 */
hone_status hone_plan_check_tie(const hone_context *ctx, const hone_plan *plan, const char *embedding,
                                const char *output, bool *tied, hone_error *err);

/* An architecture family: model classes of config.json, and how to plan them. The table is in conversions.c. */
typedef struct hone_conversion {
    const char *const *classes; /* NULL-terminated */
    const char *gguf_architecture;
    hone_status (*plan)(const hone_context *ctx, hone_plan *plan, hone_error *err);
} hone_conversion;

extern const hone_conversion hone_conversion_gpt2;
extern const hone_conversion hone_conversion_llama;

/* hone_conversion_find() returns the family of a model class such as "LlamaForCausalLM", or NULL. */
const hone_conversion *hone_conversion_find(const char *model_class);

/* hone_plan_from_gguf() plans a GGUF source: metadata copied, tensors one to one. */
hone_status hone_plan_from_gguf(const hone_context *ctx, hone_plan *plan, hone_error *err);

/* hone_role_of() tells what a GGUF tensor does from its name; *layer is its block, 0 outside blocks. */
hone_role hone_role_of(const char *gguf_name, unsigned *layer);

/* hone_plan_name_codes() sets gguf_name: what the weights that codes on a grid stand for would be called in GGUF.
 * UNSUPPORTED: the architecture is not known. NOMEM. */
hone_status hone_plan_name_codes(const hone_context *ctx, hone_plan *plan, hone_error *err);

/*
 * hone_plan_names() plans src as GGUF, for its names only: tensors and model of *names, which has no header;
 * hone_plan_names_deinit(). UNSUPPORTED: the architecture is not known. NOMEM.
 */
hone_status hone_plan_names(const hone_context *ctx, const hone_checkpoint *src, hone_plan *names, hone_error *err);
void hone_plan_names_deinit(hone_plan *names);

/* hone_import_tokenizer() writes the checkpoint's tokenizer into plan->header, padded to n_vocab tokens. */
hone_status hone_import_tokenizer(const hone_context *ctx, hone_plan *plan, hone_error *err);

/* hone_source_row() returns the source row that output row r of a tensor comes from. */
uint64_t hone_source_row(const hone_planned_tensor *t, uint64_t r);

/*
 * hone_find_f16_overflow() streams a tensor and looks for a finite value that f16 would make infinite. *found and the
 * element's index, if any.
 */
hone_status hone_find_f16_overflow(const hone_context *ctx, const hone_plan *plan, const hone_planned_tensor *t,
                                   bool *found, uint64_t *index, hone_error *err);

#endif
