/* SPDX-License-Identifier: MIT */
/* The small files beside the weights of a Hugging Face directory: configuration and tokenizer. */
#ifndef HONE_SIDECARS_H
#define HONE_SIDECARS_H

#include <jansson.h>

#include "convert/plan_impl.h"

/* A file to be written into the output directory: a copy of the one at path, or else text. */
typedef struct hone_sidecar {
    const char *name; /* static */
    const char *path; /* arena; or NULL */
    const char *text; /* arena */
    size_t len;
} hone_sidecar;

/*
 * hone_sidecars_plan() adds those that lie beside the source's weights. config.json comes without the source's own
 * quantization, and if it had one, or retyped is set, names dtype as the type of the weights (NULL: as it was).
 * quantization (borrowed), unless NULL, becomes its quantization_config, and its "quantization" as well if mlx. A
 * source without config.json has no sidecars.
 */
hone_status hone_sidecars_plan(hone_plan *plan, bool retyped, const char *dtype, json_t *quantization, bool mlx,
                               hone_error *err);

/*
 * hone_sidecars_write() writes them into a directory, each atomically. One that is there with the same bytes is left
 * alone. ARG: one is there with other bytes, and overwrite is not set.
 */
hone_status hone_sidecars_write(const hone_plan *plan, const char *directory, bool overwrite, hone_error *err);

#endif
