/* SPDX-License-Identifier: MIT */
/*
 * What a plan is written as: which tensors there are under which names, which types they may have, and the files they
 * lie in. One const hone_target per kind of output; the table is in target.c.
 */
#ifndef HONE_TARGET_H
#define HONE_TARGET_H

#include "convert/plan_impl.h"
#include "convert/type_choice.h"
#include "formats/safetensors_writer.h"

struct hone_target {
    const char *name; /* as --to names it */
    bool is_directory;
    bool weighs; /* quantizes, so that an importance matrix may have a say */

    /* Checks the options that are the target's own and completes them. NULL: it has none. */
    hone_status (*prepare)(hone_plan *plan, hone_convert_options *opts, hone_error *err);

    /* Adds the output's tensors: names, sources, orders of rows. */
    hone_status (*plan)(const hone_context *ctx, hone_plan *plan, hone_error *err);

    /* Settles the rows, dtype and why of a tensor. */
    hone_status (*settle)(const hone_context *ctx, const hone_plan *plan, const hone_type_choice *choice,
                          hone_planned_tensor *t, hone_error *err);

    /*
     * Settles plan->files, and each tensor's file and offset; sizes and types are settled. May reorder the tensors:
     * those of one file are neighbours, the files follow each other.
     */
    hone_status (*lay_out)(hone_plan *plan, const hone_type_choice *choice, const hone_convert_options *opts,
                           hone_error *err);

    /* Fills the checksums of a file's tensors (one each) into a copy of its header. */
    void (*put_checksums)(const hone_output_file *file, const uint64_t *checksums, uint8_t *header);
};

extern const hone_target hone_target_gguf;
extern const hone_target hone_target_safetensors;
extern const hone_target hone_target_compressed_tensors;
extern const hone_target hone_target_gptq;
extern const hone_target hone_target_awq;
extern const hone_target hone_target_mlx;

/* hone_target_find() returns the target of that name, NULL standing for "gguf"; NULL if there is none. */
const hone_target *hone_target_find(const char *name);

/* hone_plan_add_file() appends a file to plan->files and returns it, zeroed; NULL when out of memory. */
hone_output_file *hone_plan_add_file(hone_plan *plan);

/* hone_plan_settle_rows() sets n_rows and row_nelems: rows along the last axis, or as t->order wants them. DATA, LIMIT.
 */
hone_status hone_plan_settle_rows(hone_planned_tensor *t, hone_error *err);

/* hone_plan_settle_stored() is hone_plan_settle_rows() for rows that keep their order: long ones are cut anywhere. */
void hone_plan_settle_stored(hone_planned_tensor *t);

/* hone_plan_recipe() returns what was done to what as JSON, the same whenever and wherever it is done; arena. */
hone_status hone_plan_recipe(hone_plan *plan, const hone_convert_options *opts, const char **out, hone_error *err);

/* hone_plan_put_safetensors_metadata() makes the __metadata__ of every output file; *out lives in the plan's arena. */
hone_status hone_plan_put_safetensors_metadata(hone_plan *plan, const hone_convert_options *opts, const char *format,
                                               hone_safetensors_pair **out, size_t *n_out, hone_error *err);

/*
 * hone_plan_lay_out_shards() settles the files of a safetensors directory, for a lay_out(): model.safetensors, or
 * shards of at most shard_nbytes of tensors (0: 5 GB; a larger tensor has one to itself) and their index. Reorders the
 * tensors.
 */
hone_status hone_plan_lay_out_shards(hone_plan *plan, uint64_t shard_nbytes, const hone_safetensors_pair *metadata,
                                     size_t n_metadata, hone_error *err);

/* The put_checksums() of such a directory. */
void hone_put_safetensors_checksums(const hone_output_file *file, const uint64_t *checksums, uint8_t *header);

#endif
